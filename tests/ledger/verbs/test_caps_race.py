"""Caps against races: ledgers that share a database cross none, whoever is between reading and writing when one is made."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.commits import commit
from ledger.store.base import Store
from schemas.bus.subjects import Role
from schemas.verbs.base import Rows
from schemas.verbs.calls import Hold, Reason, Refusal
from schemas.verbs.caps import CAP_CREATE, CapCreate, NewCap
from schemas.verbs.keys import KEY_CREATE, KeyCreate
from tests.ledger.conftest import Source
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import USD, Books, Clock, digest_of

HELD = 750_000  # of a call as `Books.request` asks
HELD_THERE = 450_000  # as `Deployment.authorise` asks
CALLERS, AFFORDED = 200, 10
_BLOCKED = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"])


@pytest.fixture
async def other(source: Source, store: Store, clock: Clock) -> Any:
    """A second ledger on the database of the first."""
    assert store
    again = await source.again()
    yield Books(again, clock)
    await again.close()


async def meanwhile(
    monkeypatch: pytest.MonkeyPatch, store: Store, first: Awaitable[Any], second: Callable[[], Awaitable[Any]]
) -> tuple[Any, Any]:
    """What two commits give, of which the second begins when the first has read all, and waits until it has written."""
    save, started = commit.save, []

    async def saved(*arguments: Any) -> None:
        if not started:
            started.append(asyncio.ensure_future(second()))

            async def blocked() -> bool:
                return bool((await store.fetch(_BLOCKED))[0][0])

            await until(blocked, "the second waits for a lock of the first")
        await save(*arguments)

    monkeypatch.setattr(commit, "save", saved)
    answer = await first
    return answer, await started[0]


def cap_of(nano: int, key_id: str = "", organization: str = "") -> CapCreate:
    """A request for a cap by day."""
    return CapCreate(1, NewCap("cap_1", "day", nano), key_id, organization)


@on_postgresql
async def test_a_cap_is_made_while_a_call_is_authorised(
    books: Books, other: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold that another ledger was about to write when the cap was made counts in it."""
    key = await books.key()
    held, made = await meanwhile(
        monkeypatch,
        books.store,
        books.do(books.request("r1")),
        lambda: other.do(cap_of(HELD, key)),
    )
    assert isinstance(held, Hold)
    assert made.rows[0]["current"]["held_nano"] == HELD
    reply = await books.authorise("r2")
    assert isinstance(reply, Refusal)
    assert reply.reason is Reason.CAPPED
    await books.check()


@on_postgresql
async def test_a_call_is_authorised_while_a_cap_is_made(
    books: Books, other: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that read the key before it had a cap sees the cap before it writes the hold."""
    key = await books.key()
    _, reply = await meanwhile(
        monkeypatch,
        books.store,
        books.do(cap_of(HELD - 1, key)),
        lambda: other.do(other.request("r1")),
    )
    assert isinstance(reply, Refusal)
    assert reply.reason is Reason.CAPPED
    await books.check()


@on_postgresql
@pytest.mark.parametrize("cap_first", [True, False], ids=["cap first", "key first"])
async def test_a_key_is_made_while_its_organisation_is_capped(
    books: Books, other: Books, monkeypatch: pytest.MonkeyPatch, cap_first: bool
) -> None:
    """A key that is made at the same moment is bound by the cap, whichever comes first."""
    await books.key("a", profile="acme")
    cap = cap_of(HELD - 1, organization="acme")
    key = KeyCreate(1, digest_of("b"), "b", "acme", USD, None, False)
    first, second = (cap, key) if cap_first else (key, cap)
    replies = await meanwhile(monkeypatch, books.store, books.do(first), lambda: other.do(second))
    assert not any(reply.problem for reply in replies)
    for name in ("a", "b"):
        reply = await books.authorise(f"r-{name}", name)
        assert isinstance(reply, Refusal)
        assert reply.reason is Reason.CAPPED
    await books.check()


@pytest.mark.parametrize("keys", [1, 50], ids=["one key", "an organisation"])
async def test_exactly_those_that_fit(deployment: Deployment, keys: int) -> None:
    """Of 200 calls at once at two ledgers ten are granted, which is what the cap affords; it is crossed at no moment."""
    await race(deployment, keys=keys, calls=CALLERS)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("keys", [1, 50], ids=["one key", "an organisation"])
async def test_exactly_those_that_fit_at_length(deployment: Deployment, keys: int) -> None:
    """The same with 10,000 calls, of which a thousand fit."""
    await race(deployment, keys=keys, calls=10_000)


async def race(deployment: Deployment, *, keys: int, calls: int) -> None:
    """Two ledgers on one database, and calls of some keys that all ask at once."""
    for _ in range(2):
        await deployment.start()
    names = [f"k{number}" for number in range(keys)]
    for name in names:
        key = KeyCreate(1, digest_of(name), name, "acme", 50 * USD, None, False)
        made: Rows = await deployment.ask(Role.COMMAND, KEY_CREATE, key, Rows)
    afford = calls * AFFORDED // CALLERS
    scope = {"key_id": made.rows[0]["id"]} if keys == 1 else {"organization": "acme"}
    reply: Rows = await deployment.ask(
        Role.COMMAND, CAP_CREATE, cap_of(afford * HELD_THERE + HELD_THERE // 2, **scope), Rows
    )
    assert not reply.problem
    over, most = False, 0

    async def watch() -> None:
        nonlocal most
        while not over:
            rows = await deployment.store.fetch(
                "SELECT spent_nano + held_nano, ceiling_nano FROM cap_periods"
            )
            most = max([most, *(int(row[0]) for row in rows)])
            assert all(row[0] <= row[1] for row in rows)
            await asyncio.sleep(0.01)

    watching = asyncio.ensure_future(watch())
    gate = asyncio.Semaphore(400)  # as many as an edge has under way

    async def ask(number: int) -> Any:
        async with gate:
            return await deployment.authorise(f"r{number:05d}", names[number % keys])

    replies = await asyncio.gather(*(ask(number) for number in range(calls)))
    over = True
    await watching
    granted = [one for one in replies if isinstance(one, Hold)]
    assert len(granted) == afford
    assert {one.reason for one in replies if isinstance(one, Refusal)} == {Reason.CAPPED}
    rows = await deployment.store.fetch("SELECT spent_nano, held_nano FROM cap_periods")
    assert [tuple(row) for row in rows] == [(0, sum(one.amount_nano for one in granted))]
    assert most <= rows[0][1]
    assert (await deployment.audit())["ok"]
