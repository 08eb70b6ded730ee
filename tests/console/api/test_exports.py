"""Exports over HTTP: the books to the nano-dollar, of one moment, whole or visibly not, two at once, each in the audit log."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from ledger.exports import calls, focus, journal
from tests.console.api.rig import Rig, World, populated
from tests.ledger.deployment import until
from tests.ledger.exported import balances, cost_nano, table

NAMES = ("journal", "calls", "focus")
PROVEN = ("journal", "calls")
sqlite = pytest.mark.parametrize("dialect", ["sqlite"])


async def _billed(rig: Rig, owner: str) -> tuple[World, World]:
    """Two organisations with a billed call each, of which one is refunded in part."""
    first, second = await populated(rig, "acme", owner), await populated(rig, "beta", owner)

    async def billed() -> bool:
        found = [await rig.done("GET", f"/calls/{one.call}", key=owner) for one in (first, second)]
        return all(one["outcome"] for one in found)

    await until(billed, "both calls are billed")
    await rig.done("POST", f"/calls/{first.call}/refunds", {"reason": "r", "amount_nano": 7}, key=owner)
    rig.deployment.clock.turn(1)
    return first, second


async def _file(rig: Rig, name: str, key: str, query: str = "") -> str:
    answer = await rig.ask("GET", f"/exports/{name}.csv{query}", key=key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    assert answer.headers["transfer-encoding"] == "chunked"
    return answer.text


def _prove(text: str, column: str) -> None:
    """The last line has the count, the sum and the hash of all before it."""
    at = text.rindex("# ")
    rows = table(text)
    total = sum(int(row[column]) for row in rows)
    digest = hashlib.sha256(text[:at].encode()).hexdigest()
    assert text[at:] == f"# rows={len(rows)} sum_nano={total} sha256={digest}\n"


async def test_exports_are_the_books(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal makes every account, FOCUS and calls all bills less refunds, a statement what its accounts have."""
    for module in (calls, focus, journal):
        monkeypatch.setattr(module, "PAGE_ROWS", 3)
    owner = await rig.key()
    acme, _ = await _billed(rig, owner)
    files = {name: await _file(rig, name, owner) for name in NAMES}
    _prove(files["journal"], "amount_nano")
    _prove(files["calls"], "net_nano")
    accounts = await rig.deployment.store.fetch("SELECT id, posted_nano FROM accounts WHERE posted_nano <> 0")
    made = {id_: nano for id_, nano in balances(table(files["journal"])).items() if nano}
    assert made == {row[0]: int(row[1]) for row in accounts}
    ((billed, refunded),) = await rig.deployment.store.fetch(
        "SELECT SUM(billed_nano), SUM(refunded_nano) FROM usage"
    )
    assert (int(billed) > 0, int(refunded)) == (True, 7)
    assert cost_nano(table(files["focus"])) == int(billed) - 7
    assert sum(int(row["net_nano"]) for row in table(files["calls"])) == int(billed) - 7
    own = {name: nano for name, nano in made.items() if name in await _accounts_of(rig, "acme")}
    (running, *_, over) = (await rig.done("GET", "/statements?organization=acme", key=owner))["data"]
    whole = await rig.done("GET", f"/statements/{running['id']}", key=owner)
    assert whole["closing_nano"] == sum(own.values())
    assert over["id"] == acme.statement
    assert whole["opening_nano"] + sum(one["amount_nano"] for one in whole["lines"]) == whole["closing_nano"]
    theirs = table(await _file(rig, "journal", await rig.key("money:read", organization="acme")))
    assert {row["organization"] for row in theirs} == {"acme"}
    assert {name: nano for name, nano in balances(theirs).items() if name in own} == own


async def _accounts_of(rig: Rig, organization: str) -> set[str]:
    rows = await rig.deployment.store.fetch(
        "SELECT account_id FROM api_keys WHERE profile = $1", organization
    )
    return {f"org:{organization}", f"playground:{organization}", *(row[0] for row in rows)}


@sqlite
async def test_each_export_has_its_entry(rig: Rig) -> None:
    """Who took what out of the books is in the audit log: by whom, of whom, from when to when, over which address."""
    owner = await rig.key()
    await populated(rig, "acme", owner)
    reader = await rig.key("money:read", organization="acme")
    await _file(rig, "calls", reader, "?from=1&to=2000000000")
    entries = (await rig.done("GET", "/audit_entries?action=export", key=owner))["data"]
    (entry,) = entries
    assert (entry["target"], entry["ip"], entry["actor"]["type"]) == ("calls", "127.0.0.1", "management_key")
    assert entry["after"] == {
        "exports/calls": {"organization": "acme", "since_ms": 1000, "until_ms": 2_000_000_000_000}
    }
    assert (await rig.deployment.audit())["ok"]


class Gate:
    """Stands before each page of a journal but the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal, "PAGE_ROWS", 2)
        self.waiting = 0
        self.opened = asyncio.Event()
        self._page = journal.page
        monkeypatch.setattr(journal, "page", self._gated)

    async def _gated(self, reader: Any, asked: Any, place: Any) -> Any:
        if place and not self.opened.is_set():
            self.waiting += 1
            await self.opened.wait()
        return await self._page(reader, asked, place)

    async def reached(self, count: int) -> None:
        """Waits until so many exports stand here."""

        async def there() -> bool:
            return self.waiting >= count

        await until(there, f"{count} exports wait")


@sqlite
async def test_two_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third export of a credential is a 429 and has no entry; another credential has places of its own, and an end frees one."""
    owner = await rig.key()
    await populated(rig, "acme", owner)
    gate, key, other = Gate(monkeypatch), await rig.key("money:read"), await rig.key("money:read")
    running = [asyncio.ensure_future(_file(rig, "journal", one)) for one in (key, key, other)]
    await gate.reached(3)
    refused = await rig.ask("GET", "/exports/journal.csv", key=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    gate.opened.set()
    first, *rest = await asyncio.gather(*running)
    assert all(one == first for one in rest)
    _prove(await _file(rig, "journal", key), "amount_nano")
    entries = (await rig.done("GET", "/audit_entries?action=export", key=owner))["data"]
    assert len(entries) == 4


@sqlite
async def test_one_that_breaks_is_not_whole(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is revoked gets no more pages: its reader sees a transfer that broke off, without the line that proves the file."""
    owner = await rig.key()
    await populated(rig, "acme", owner)
    gate, key = Gate(monkeypatch), await rig.key("money:read")
    me = await rig.done("GET", "/me", key=key)
    seen = bytearray()

    async def reads() -> None:
        headers = {"authorization": f"Bearer {key}"}
        async with rig.client.stream("GET", "/exports/journal.csv", headers=headers) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                seen.extend(piece)
                if not gate.opened.is_set():
                    await gate.reached(1)
                    await rig.done("DELETE", f"/management_keys/{me['id']}", key=owner)
                    gate.opened.set()

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await reads()
    assert seen.startswith(b"created,request_id")
    assert b"\n# rows=" not in seen


@sqlite
async def test_what_curl_says_of_one_that_breaks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 18, as the documents say."""
    owner = await rig.key()
    await populated(rig, "acme", owner)
    gate, key = Gate(monkeypatch), await rig.key("money:read")
    me = await rig.done("GET", "/me", key=key)
    asked = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-H", f"Authorization: Bearer {key}"),
        f"{rig.url}/admin/v1/exports/journal.csv",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await gate.reached(1)
    await rig.done("DELETE", f"/management_keys/{me['id']}", key=owner)
    gate.opened.set()
    out, said = await asked.communicate()
    assert (asked.returncode, out.startswith(b"created,"), b"# rows" in out) == (18, True, False)
    assert b"transfer closed with outstanding read data remaining" in said


@sqlite
async def test_another_ledger_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that dies between two pages costs nothing: another one answers the rest, and the file is whole."""
    owner = await rig.key()
    await populated(rig, "acme", owner)
    rig.deployment.clock.turn(1)
    gate = Gate(monkeypatch)
    running = asyncio.ensure_future(_file(rig, "journal", owner))
    await gate.reached(1)
    _, task = rig.deployment.running.pop(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.opened.set()
    await rig.deployment.start()
    text = await running
    _prove(text, "amount_nano")
    assert table(text) == table(await _file(rig, "journal", owner))


@sqlite
async def test_what_cannot_be_asked(rig: Rig) -> None:
    """A window that ends before it begins, and an organisation that is not there, are refused before a file begins."""
    owner = await rig.key()
    for query, status, param in (
        ("?from=5&to=5", 400, "to"),
        ("?organization=nobody", 404, None),
        ("?from=x", 400, "from"),
        ("?color=red", 400, "color"),
    ):
        answer = await rig.ask("GET", f"/exports/focus.csv{query}", key=owner)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), query
