"""Events that no commit causes: by the clock, from beats, from the audit. Each is told once, whichever ledger tells it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ledger.commits import clock as ticking
from ledger.commits.clock import DAY_MS, DUE, prune, tell_due
from ledger.verbs.audit import tell_findings
from ledger.verbs.beats import Beats
from ledger.verbs.watching import UNSERVED_S, Watching
from runtime.bus.bus import Message
from schemas.bus.frames import AccountBeat, AccountState, Beat, encode
from schemas.verbs.keys import KeyUpdate
from schemas.verbs.money import Post
from tests.ledger.harness import USD, Books

DAY_S = 86_400


async def tick(books: Books) -> None:
    """What a ledger does each minute."""
    for due in DUE:
        await tell_due(books.store, due)
    await prune(books.store)


async def test_what_ends(books: Books) -> None:
    """A key is told of a week and a day before its end and at its end, a credit before it; a revoked key is not."""
    await tick(books)
    key_id = await books.key("key", USD, profile="acme")
    gone = await books.key("gone", USD)
    soon_ms = books.clock.ms + 10 * DAY_MS
    for one in (key_id, gone):
        await books.do(KeyUpdate(1, one, expires_ms=soon_ms))
    await books.act("promotional", Post(1, f"key:{key_id}", USD, "gift", expires_ms=soon_ms))
    await books.revoke(gone)
    types = ("key.expiring", "key.expired", "credit.expiring")
    seen = []
    for _ in range(24):
        books.clock.turn(DAY_S / 2)
        await tick(books)
        await tick(books)
        seen.append([one["type"] for one in await books.events(*types)])
    assert seen[4] == []
    assert seen[6] == ["key.expiring", "credit.expiring"]
    assert seen[16] == seen[6]
    assert seen[18] == seen[6] * 2
    assert seen[23] == [*seen[6], *seen[6], "key.expired"]
    told = await books.events(*types)
    assert {one["organization"] for one in told} == {"acme"}
    assert {one["object"] for one in told if one["type"].startswith("key")} == {key_id}


async def test_many_at_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a round takes are told in several, each once, also those that end in the same moment."""
    monkeypatch.setattr(ticking, "ROWS_MAX", 2)
    await tick(books)
    for number in range(7):
        key_id = await books.key(f"k{number}", 0)
        expires_ms = books.clock.ms + 60_000 + (number // 4) * 1_000
        await books.do(KeyUpdate(1, key_id, expires_ms=expires_ms))
    books.clock.turn(120)
    for _ in range(5):
        await tick(books)
    told = [one["object"] for one in await books.events("key.expired")]
    assert len(told) == len(set(told)) == 7


async def test_old_rows_go(books: Books) -> None:
    """Events are kept for 90 days."""
    await books.key()
    books.clock.turn(89 * DAY_S)
    await tick(books)
    before = len(await books.events())
    assert before
    books.clock.turn(2 * DAY_S)
    await books.key("later")
    await tick(books)
    assert len(await books.events()) < before + 2


def heard(beats: Beats, state: AccountState) -> None:
    """A worker's beat."""
    beat = Beat(
        v=1,
        worker_id="w1",
        pool="openai",
        provider="openai",
        inflight=0,
        capacity=1,
        accepting=True,
        models=(),
        gone=(),
        accounts=(AccountBeat("main", state, 0, 1, reason="401"),),
    )
    beats.on_beat(Message("beat.openai.w1", "", encode(beat)))


async def test_accounts_and_pools(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that is refused or spent and comes back, and a pool that nobody serves for 30 s, are told once each."""
    books.start()
    beats: list[Beats] = []
    watches = []
    for _ in range(2):
        beats.append(Beats())
        services: Any = SimpleNamespace(beats=beats[-1], providers={"openai": "openai"})
        watches.append(Watching(services, books.writer))
    types = ("account.refused", "account.spent", "account.recovered", "pool.unserved", "pool.served")
    now = 1_000.0

    async def look(state: AccountState | None, times: int = 3) -> list[str]:
        nonlocal now
        for _ in range(times):
            for one, watch in zip(beats, watches, strict=True):
                one._seen.clear()
                if state is not None:
                    heard(one, state)
                await watch.look(now)
            now += 5
        return [one["type"] for one in await books.events(*types)]

    assert await look(AccountState.OK) == []
    assert await look(AccountState.REFUSED, 1) == [], "a state that is seen once may be gone"
    assert await look(AccountState.REFUSED) == ["account.refused"]
    assert await look(AccountState.COOLING) == ["account.refused"]
    assert await look(AccountState.OK) == ["account.refused", "account.recovered"]
    assert (await look(AccountState.SPENT))[-1] == "account.spent"
    assert (await look(None, int(UNSERVED_S / 5) - 1))[-1] == "account.spent"
    assert (await look(None))[-1] == "pool.unserved"
    assert (await look(AccountState.OK))[-2:] == ["pool.served", "account.recovered"]
    assert len(await books.events(*types)) == 6
    (refused,) = await books.events("account.refused")
    assert refused["data"] == {
        "id": "openai:main",
        "pool": "openai",
        "account": "main",
        "state": "refused",
        "reason": "401",
    }


async def test_findings(books: Books) -> None:
    """What an audit finds is told once, again when it is something else, and not while the books balance."""
    first, second = ({"invariant": name, "request_id": "", "detail": "x"} for name in ("I1", "I2"))
    for findings in ([], [first], [first], [first, second], [], [first]):
        await tell_findings(books.store, findings)
    told = await books.events("books.finding")
    assert [one["data"]["count"] for one in told] == [1, 2, 1]
