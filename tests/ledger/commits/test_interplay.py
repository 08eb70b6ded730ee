"""Parts of the books that were made apart, together: bounds of wallets, late reports, take-overs, sums, and locks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ledger.commits import commit, load_save
from ledger.commits.commit import Delivery
from ledger.commits.rolling import Rolling
from ledger.store.base import Store, StoreConflict
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Estimate, Hold
from schemas.verbs.keys import KeyCreate
from schemas.verbs.limits import LimitsSet
from schemas.verbs.money import Refund
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock, digest_of, event

HELD = 750_000
FULL = TokenUsage(input=100, output=100)
on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"])
_BLOCKED = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def other(source: Source, store: Store, clock: Clock) -> AsyncIterator[Books]:
    """Another ledger on the same database."""
    again = await source.again()
    yield Books(again, clock)
    await again.close()


async def blocked(store: Store) -> None:
    """Waits until somebody waits for a lock."""
    for _ in range(500):
        if (await store.fetch(_BLOCKED))[0][0] >= 1:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not blocked")


@pytest.mark.parametrize("what", ["cap", "limit"])
async def test_wallet(books: Books, what: str) -> None:
    """A key on a wallet that its organisation had before is bounded by the organisation's cap, or limit."""
    await books.do(OrganizationCreate(1, "acme"))
    await books.credit("c1", 5 * USD, organization="acme")
    if what == "cap":
        await books.cap(HELD, organization="acme")
    else:
        assert not (await books.do(LimitsSet(1, profile="acme", in_flight=1))).problem
    await books.key("w", 0, profile="acme", wallet=True)
    replies = [await books.authorise(f"r{n}", "w") for n in range(5)]
    await books.check()
    assert sum(isinstance(r, Hold) for r in replies) == 1


async def test_estimate_and_event_together(books: Books) -> None:
    """An estimate and the worker's report of one capped call may come in one batch."""
    key = await books.key("key", 10 * USD)
    await books.cap(USD, key_id=key)
    hold = await books.hold("r1")
    est = Estimate(
        v=1, request_id="r1", token=hold.token, attempt=1, usage=TokenUsage(input=1, output=1), failed=False
    )
    await books.commit([est], [Delivery("stream", 1, (event("r1", FULL),))])
    await books.check()


async def test_takeover_lost(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict after the books were taken over takes them over again: older ledgers stay out."""
    await books.key("key", 10 * USD)
    await books.hold("r1")
    await books.settle(event("r1", FULL))
    save = commit.save
    failed: list[int] = []

    async def once(*given: Any) -> None:
        await save(*given)
        if not failed:
            failed.append(1)
            raise StoreConflict("deadlock")

    monkeypatch.setattr(commit, "save", once)
    reply = await books.act("refund", Refund(1, "r1", 1000))
    assert not reply.problem, reply
    rows = await books.store.fetch("SELECT id FROM ledgers WHERE id = 'least'")
    await books.expire_lots()
    assert rows


@on_postgresql
async def test_rates_race(books: Books, other: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is set while another ledger waits for the account bounds that ledger's call, too."""
    key = await books.key()
    save = commit.save
    tasks: list[asyncio.Future[Any]] = []

    async def saved(*given: Any) -> None:
        if not tasks:
            tasks.append(asyncio.ensure_future(books.do(books.request("r1"))))
            await blocked(other.store)
        await save(*given)

    monkeypatch.setattr(commit, "save", saved)
    assert not (await other.do(LimitsSet(1, key_id=key, in_flight=1))).problem
    await tasks[0]
    second = await books.authorise("r2")
    assert not isinstance(second, Hold)


@on_postgresql
async def test_deadlock_limits(books: Books, other: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting a limit and settling a call that it adopts lock in one order: neither has to begin again."""
    key = await books.key()
    await books.hold("r1")
    real = load_save.load_open_holds
    tasks: list[asyncio.Future[Any]] = []

    async def opened(*given: Any) -> None:
        if not tasks:
            tasks.append(asyncio.ensure_future(books.settle(event("r1", FULL))))
            await blocked(other.store)
        await real(*given)

    monkeypatch.setattr(load_save, "load_open_holds", opened)
    assert not (await other.do(LimitsSet(1, key_id=key, in_flight=1))).problem
    await tasks[0]
    conflicts = [b.telemetry.conflicts._value.get() for b in (books, other)]
    await books.check()
    assert not any(conflicts)


@on_postgresql
@pytest.mark.parametrize("which", ["key", "org"])
async def test_deadlock_profile(
    books: Books, other: Books, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Making a key, or changing its organisation, and settling a playground call lock in one order."""
    await books.key("p", 0, playground=True)
    await books.credit("c1", 5 * USD, profile="default")
    await books.hold("r1", "p")
    save = commit.save
    tasks: list[asyncio.Future[Any]] = []

    async def saved(*given: Any) -> None:
        if not tasks:
            what = (
                KeyCreate(
                    v=1,
                    digest=digest_of("k2"),
                    name="k2",
                    profile="",
                    posted_nano=0,
                    providers=None,
                    playground=False,
                )
                if which == "key"
                else OrganizationUpdate(1, "default", name="x")
            )
            tasks.append(asyncio.ensure_future(other.do(what)))
            await blocked(other.store)
        await save(*given)

    monkeypatch.setattr(commit, "save", saved)
    await books.settle(event("r1", FULL))
    await tasks[0]
    conflicts = [b.telemetry.conflicts._value.get() for b in (books, other)]
    await books.check()
    assert not any(conflicts)


async def _insert(connection: Any, id_: str) -> None:
    names = ", ".join(
        row[0]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'usage' AND column_name NOT IN ('seq', 'request_id')"
        )
    )
    await connection.execute(
        f"INSERT INTO usage (request_id, {names}) SELECT '{id_}', {names} FROM usage WHERE request_id = 'r0'"
    )


@on_postgresql
async def test_rolling_mark(source: Source, clock: Clock) -> None:
    """A row with a lower number of a transaction with a higher one, committed last, is summed all the same."""
    books = await Books.open(await source.open(), clock)
    await books.key("key", 50 * USD)
    await books.hold("r0")
    await books.settle(event("r0", FULL))
    books.start()
    made = Rolling(books.writer)
    for _ in range(3):
        await made.step()
    a: Any = await asyncpg.connect(source.url.replace("+asyncpg", ""))
    b: Any = await asyncpg.connect(source.url.replace("+asyncpg", ""))
    for one in (a, b):
        await one.execute("SET tokn.revision = '6'")
    tb, ta = b.transaction(), a.transaction()
    await tb.start()
    await b.execute("UPDATE accounts SET low_nano = 0 WHERE id = 'nobody'")
    await b.fetch("SELECT pg_current_xact_id()")  # as any row lock does: B has the lower number
    await ta.start()
    await a.fetch("SELECT pg_current_xact_id()")
    await _insert(a, "slow")  # the lower seq
    await _insert(b, "fast")
    await tb.commit()
    for _ in range(3):
        await made.step()
    await ta.commit()
    for _ in range(4):
        await made.step()
    for one in (a, b):
        await one.close()
    found = [f for f in (await books.audit())["findings"] if f["invariant"] == "I15"]
    await books.close()
    assert not found


@on_postgresql
async def test_rolling_restored(source: Source, clock: Clock) -> None:
    """After a restore the mark of before is forgotten: the calls that come next are summed."""
    books = await Books.open(await source.open(), clock)
    await books.key("key", 50 * USD)
    for n in range(4):
        await books.hold(f"r{n}")
        await books.settle(event(f"r{n}", FULL))
    books.start()
    made = Rolling(books.writer)
    for _ in range(3):
        await made.step()
    # restored: as it was before any of these calls was booked
    async with books.store.write() as tx:
        for sql in (
            "TRUNCATE usage RESTART IDENTITY",
            "TRUNCATE usage_hours",
            "TRUNCATE usage_days",
            "TRUNCATE usage_totals",
            "UPDATE rollups SET seq = 0",
            "DELETE FROM holds",
        ):
            await tx.execute(sql)
    books.store._writer.terminate()
    await made.step()
    await books.hold("n1")
    await books.settle(event("n1", FULL))
    for _ in range(4):
        await made.step()
    found = [f for f in (await books.audit())["findings"] if f["invariant"] == "I15"]
    await books.close()
    assert not found


@pytest.mark.uncollected("the older ledger is imitated")
async def test_older_corrects_rolled(books: Books) -> None:
    """While an older ledger is seen nothing is summed, so its corrections leave no wrong sum."""
    await books.key("key", 10 * USD)
    hold = await books.hold("r1")
    assert await books.estimate(hold, TokenUsage(input=10, output=5))
    async with books.store.write() as tx:
        await tx.execute("INSERT INTO ledgers (id, revision, seen_ms) VALUES ('unknown', 0, $1)", tx.now_ms)
    books.start()
    made = Rolling(books.writer)
    for _ in range(3):
        await made.step()
    async with books.store.write() as tx:  # its UPDATE of the row, and no sums
        await tx.execute(
            "UPDATE usage SET input = 100, output = 100, list_nano = list_nano + 7, cost_final = $1 WHERE request_id = 'r1'",
            True,
        )
    async with books.store.write() as tx:
        await tx.execute("UPDATE ledgers SET seen_ms = 0 WHERE id = 'unknown'")
    await books.expire_lots()  # takes over
    for _ in range(3):
        await made.step()
    found = [f for f in (await books.audit())["findings"] if f["invariant"] == "I15"]
    assert not found


@on_postgresql
async def test_takeover_deadlock_cap(books: Books, other: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cap, while another ledger settles that key's call, takes the books over for good."""
    key = await books.key("key", 10 * USD)
    await books.hold("r1")
    save = commit.save
    tasks: list[asyncio.Future[Any]] = []

    async def saved(*given: Any) -> None:
        if not tasks:
            tasks.append(asyncio.ensure_future(other.cap(USD, key_id=key)))
            await blocked(other.store)
        await save(*given)

    monkeypatch.setattr(commit, "save", saved)
    await books.settle(event("r1", FULL))
    await tasks[0]
    rows = await books.store.fetch("SELECT id FROM ledgers WHERE id = 'least'")
    reply = await other.act("refund", Refund(1, "r1", 1000))
    assert not reply.problem
    await books.expire_lots()
    assert rows
