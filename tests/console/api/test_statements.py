"""Statements over HTTP: which there are, one in three forms, and its issue, once and by right."""

import csv
import io
from typing import Any

import pytest

from ledger.statements import making
from ledger.verbs import statements
from schemas.admin.management_keys import ManagementKeyRef
from tests.console.api.rig import Rig, populated

sqlite = pytest.mark.parametrize("dialect", ["sqlite"])


async def _shown(rig: Rig, id_: str, key: str, accept: str) -> Any:
    answer = await rig.ask("GET", f"/statements/{id_}", key=key, accept=accept)
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_month_from_draft_to_issue(rig: Rig) -> None:
    """A month that is over is issued by who may, once; the one that runs is a draft that cannot be."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    drafts = (await rig.done("GET", "/statements?organization=acme", key=owner))["data"]
    running, over = drafts
    assert [one["status"] for one in drafts] == ["draft", "draft"]
    assert (over["id"], over["closing_nano"]) == (acme.statement, running["opening_nano"])
    assert (await rig.done("GET", "/statements", key=owner))["data"] == [], (
        "of all organisations, what is in the books"
    )
    early = await rig.ask("POST", f"/statements/{running['id']}/issue", key=owner)
    assert (early.status_code, early.json()["error"]["code"]) == (409, "not_issuable")
    assert "15 minutes after its end" in early.json()["error"]["message"]
    path = f"/statements/{over['id']}/issue"
    first = await rig.ask("POST", path, key=owner, idempotency_key="one")
    again = await rig.ask("POST", path, key=owner, idempotency_key="one")
    assert (first.status_code, first.json()["status"], first.json()["problem"]) == (200, "issued", None)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert "idempotent-replayed" not in first.headers
    other = await rig.ask("POST", f"/statements/{running['id']}/issue", key=owner, idempotency_key="one")
    assert other.status_code == 409
    later = await rig.ask("POST", path, key=owner, idempotency_key="two")
    assert (later.json(), "idempotent-replayed" in later.headers) == (first.json(), False)
    (entry,) = (await rig.done("GET", "/audit_entries?action=statement_issue", key=owner))["data"]
    assert (entry["target"], entry["actor"]["type"], entry["ip"]) == (
        over["id"],
        "management_key",
        "127.0.0.1",
    )
    assert entry["request_id"] == first.headers["x-request-id"]
    page = await rig.done("GET", "/statements?organization=acme&limit=1", key=owner)
    assert ([one["id"] for one in page["data"]], page["has_more"]) == ([running["id"]], True)
    rest = await rig.done("GET", f"/statements?organization=acme&starting_after={page['next']}", key=owner)
    assert ([one["number"] for one in rest["data"]], rest["has_more"]) == ([first.json()["number"]], False)
    assert (await rig.done("GET", "/statements", key=owner))["data"] == rest["data"]
    assert (await rig.deployment.audit())["ok"]


async def test_a_key_that_was_used_for_another_month(rig: Rig) -> None:
    """An idempotency key that issued one month does not issue another."""
    owner = await rig.key()
    acme, beta = await populated(rig, "acme", owner), await populated(rig, "beta", owner)
    for id_, status in ((acme.statement, 200), (beta.statement, 409)):
        answer = await rig.ask("POST", f"/statements/{id_}/issue", key=owner, idempotency_key="one")
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == "idempotency_mismatch"
    assert (await rig.done("GET", f"/statements/{beta.statement}", key=owner))["status"] == "draft"


@sqlite
async def test_a_right_that_ends_while_a_month_is_made(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger asks for the right again in the commit that issues: a key that was revoked meanwhile issues nothing."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    key = await rig.key("money:write")
    me = await rig.done("GET", "/me", key=key)
    make = making.make

    async def made(*args: Any) -> Any:
        found = await make(*args)
        await rig.act("management_key_revoke", ManagementKeyRef(1, me["id"]))
        return found

    monkeypatch.setattr(making, "make", made)
    answer = await rig.ask("POST", f"/statements/{acme.statement}/issue", key=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_management_key")
    monkeypatch.undo()
    assert (await rig.done("GET", f"/statements/{acme.statement}", key=owner))["status"] == "draft"


@sqlite
async def test_one_in_three_forms(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON page by page, CSV and the sheet whole: each has every line, and its sums."""
    monkeypatch.setattr(statements, "LINES_MAX", 1)
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    await rig.done(
        "POST",
        "/credits",
        {"key": acme.k1, "kind": "adjustment", "amount_usd": "-1", "reason": "r"},
        key=owner,
    )
    (running, _) = (await rig.done("GET", "/statements?organization=acme", key=owner))["data"]
    lines, after = [], ""
    while after is not None:
        page = await rig.done("GET", f"/statements/{running['id']}?starting_after={after}", key=owner)
        assert len(page["lines"]) == 1
        lines += page["lines"]
        after = page["next"]
    assert len(lines) > 1
    told = (await _shown(rig, running["id"], owner, "text/csv")).text
    rows = list(csv.DictReader(io.StringIO(told)))
    assert [int(row["amount_nano"]) for row in rows] == [
        running["opening_nano"],
        *(one["amount_nano"] for one in lines),
        running["closing_nano"],
    ]
    sheet = await _shown(rig, running["id"], owner, "text/html,application/xhtml+xml,*/*;q=0.8")
    assert sheet.headers["content-type"] == "text/html; charset=utf-8"
    assert sheet.text.count("<tr") == len(lines) + 3
    assert "<script" not in sheet.text
    assert (await _shown(rig, running["id"], owner, "*/*")).json()["object"] == "statement"


@sqlite
async def test_what_is_none(rig: Rig) -> None:
    """What is no id, a month that has not begun, and nobody's are not there; a list begins nowhere else."""
    owner = await rig.key()
    for id_ in (
        "none",
        "stm_202613_default",
        "stm_299001_default",
        "stm_202611_nobody",
        "stm_2026\u0661\u0661_x",
    ):
        assert (await rig.ask("GET", f"/statements/{id_}", key=owner)).status_code == 404, id_
    nowhere = await rig.ask("GET", "/statements?starting_after=none", key=owner)
    assert (nowhere.status_code, nowhere.json()["error"]["param"]) == (400, "starting_after")
