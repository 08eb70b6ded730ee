"""A database at fault, not the events: nothing is put aside, nothing is lost, and nobody else is held up for long."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ledger.commits.commit import Delivery
from ledger.store import postgres
from ledger.store.base import StoreConflict, StoreDown, StoreError
from ledger.store.postgres import PostgresStore
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold, Renew
from tests.fakes.postgres import PostgresServer
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import USD, Books, ask, billed, command, event

SMALL = TokenUsage(input=80, output=40)
MESSAGES = 200  # more than a ledger holds at once
AWAY_S = 0.7

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"])


@contextlib.asynccontextmanager
async def operator(deployment: Deployment) -> AsyncIterator[Any]:
    """A connection past the ledgers."""
    link = await asyncpg.connect(deployment.source.url.replace("+asyncpg", ""))
    try:
        yield link
    finally:
        await link.close()


@on_postgresql
@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("ALTER SCHEMA public RENAME TO away", "ALTER SCHEMA away RENAME TO public"),
        (
            "ALTER TABLE usage RENAME COLUMN finished_ms TO finished",
            "ALTER TABLE usage RENAME COLUMN finished TO finished_ms",
        ),
    ],
    ids=["tables", "column"],
)
async def test_tables_that_are_away_for_a_while(deployment: Deployment, breaks: str, mends: str) -> None:
    """Tables or a column vanish while events come, as in a restore: all are billed afterwards, none is parked."""
    await deployment.start()
    key_id = await deployment.key(nano=1000 * USD)
    names = [f"r{number}" for number in range(MESSAGES)]
    assert all(isinstance(one, Hold) for one in await asyncio.gather(*map(deployment.authorise, names)))
    async with operator(deployment) as link:
        await link.execute(breaks)
        began = time.monotonic()
        await asyncio.gather(*(deployment.publish(f"m-{name}", event(name, SMALL)) for name in names))
        await asyncio.sleep(max(began + AWAY_S - time.monotonic(), 0))
        await link.execute(mends)
    await deployment.settled(key_id, 1000 * USD - MESSAGES * billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["parked"], proof["calls"]) == (True, 0, MESSAGES)
    assert await deployment.applied() == MESSAGES
    assert isinstance(await deployment.authorise("after"), Hold)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_disk_that_is_full(books: Books) -> None:
    """A full disk ends transactions by itself: the ledger waits for room, then bills everything, and nothing is parked."""
    key_id = await books.key(nano=1000 * USD)
    names = [f"r{number}" for number in range(MESSAGES)]
    for name in names:
        await books.hold(name)
    ((pages,),) = await books.store.fetch("PRAGMA page_count")
    file: sqlite3.Connection = books.store._writer
    file.execute(f"PRAGMA max_page_count = {pages + 2}")
    writer = books.start()
    done: list[int] = []
    for number, name in enumerate(names, 1):
        delivery = Delivery("stream", number, (event(name, SMALL),))
        writer.apply(delivery, lambda number=number: done.append(number))

    async def tried() -> bool:
        return books.telemetry.failures._value.get() >= 2

    await until(tried, "the ledger has met the full disk")
    assert books._writing is not None
    assert not books._writing.done()
    assert len(done) < MESSAGES
    file.execute(f"PRAGMA max_page_count = {2**30}")

    async def whole() -> bool:
        return len(done) == MESSAGES

    await until(whole, "everything is acknowledged")
    assert await books.balance(key_id) == (1000 * USD - MESSAGES * billed(SMALL), 0)
    proof = await books.check()
    assert (proof["parked"], proof["calls"]) == (0, MESSAGES)


class Exhausted:
    """A connection to SQLite of which a COMMIT finds no memory, and maybe the ROLLBACK after it."""

    def __init__(self, real: sqlite3.Connection, fails: set[str]) -> None:
        self._real = real
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        """As the connection."""
        if sql in self.fails:
            self.fails.remove(sql)
            raise MemoryError
        return self._real.execute(sql, *parameters)


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("fails", [{"COMMIT"}, {"COMMIT", "ROLLBACK"}])
async def test_a_commit_without_memory(
    books: Books, fails: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that found no memory is rolled back and made again: no transaction is left open for the next one.

    The quiet time before holds expire begins again, as after any time without the database.
    """
    key_id = await books.key()
    await books.hold("r1")
    exhausted = Exhausted(books.store._writer, set(fails))
    monkeypatch.setattr(books.store, "_writer", exhausted)
    began = time.monotonic()
    writer = books.start()
    done = asyncio.Event()
    writer.apply(Delivery("stream", 1, (event("r1", SMALL),)), done.set)
    await asyncio.wait_for(done.wait(), 10)
    assert not exhausted.fails
    assert books.store.connected_since > began
    assert await books.balance(key_id) == (5 * USD - billed(SMALL), 0)
    await books.check()


@on_postgresql
async def test_a_row_that_somebody_holds(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator holds a hold's row beyond the ledger's own patience: its event waits, and is billed."""
    monkeypatch.setitem(postgres._WRITER_SETTINGS, "statement_timeout", "300ms")
    await deployment.start()
    key_id = await deployment.key(nano=1000 * USD)
    await deployment.authorise("r1")
    async with operator(deployment) as link:
        transaction = link.transaction()
        await transaction.start()
        await link.execute("SELECT * FROM holds WHERE request_id = 'r1' FOR UPDATE")
        await deployment.publish("m1", event("r1", SMALL))
        await asyncio.sleep(1.5)
        await transaction.rollback()
    await deployment.settled(key_id, 1000 * USD - billed(SMALL))
    assert (await deployment.audit())["parked"] == 0


@pytest.mark.parametrize("fault", [StoreDown, StoreConflict, StoreError])
async def test_a_fault_while_a_bad_event_is_put_aside(books: Books, fault: type[StoreError]) -> None:
    """The database goes away in the very moment in which an event is parked: its message is still finished, once."""
    await books.key(nano=1000 * USD)
    names = [f"r{number}" for number in range(3)]
    for name in names:
        await books.hold(name)
    commit, park = books.committer._commit, books.committer.park
    faults = [fault("away")] * 2

    async def fails(commands: Any, deliveries: Any) -> Any:
        if any(one.request_id == "r1" for delivery in deliveries for one in delivery.events):
            raise RuntimeError("this event breaks something")
        return await commit(commands, deliveries)

    async def away(*arguments: Any) -> None:
        if faults:
            raise faults.pop()
        await park(*arguments)

    books.committer._commit = fails
    books.committer.park = away
    writer = books.start()
    done: list[int] = []
    for number, name in enumerate(names, 1):
        writer.apply(
            Delivery("stream", number, (event(name, SMALL),)), lambda number=number: done.append(number)
        )
    async with asyncio.timeout(10):
        while len(done) < len(names):
            await asyncio.sleep(0.01)
    assert sorted(done) == [1, 2, 3]
    proof = await books.check()
    assert (proof["calls"], proof["parked"], proof["open_holds"]) == (2, 1, 1)
    assert [row[0] for row in await books.store.fetch("SELECT applied_seq FROM stream_positions")] == [3]


async def test_ids_that_no_database_takes(books: Books) -> None:
    """A renewal that names nonsense beside a call renews the call."""
    await books.key(nano=1000 * USD)
    hold = await books.hold("r1")
    writer = books.start()
    books.clock.turn(20)
    answered = asyncio.Event()
    writer.renew(Renew(1, ("\x00", hold.request_id, "x" * 5_000)), lambda _answer: answered.set())
    await asyncio.wait_for(answered.wait(), 10)
    books.clock.turn(20)
    assert await books.expire() == 0


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    """An address of empty books."""
    return postgres.url(await postgres.database("books_template"))


async def test_a_frozen_ledger_frees_its_rows(url: str) -> None:
    """A ledger stands still within its transaction: the others go on after seconds, and it begins anew when it is back."""
    frozen, other = [await PostgresStore.open(url, timeout_s=10) for _ in range(2)]

    async def freeze() -> None:
        async with frozen.write() as tx:
            await tx.execute("INSERT INTO accounts VALUES ('key:a', 'metered', 1, 0)")
            began = time.monotonic()
            async with other.write() as tx_of_other:
                await tx_of_other.execute("INSERT INTO accounts VALUES ('key:a', 'metered', 2, 0)")
            assert time.monotonic() - began < postgres.COMMAND_TIMEOUT_S

    with pytest.raises(StoreDown):
        await freeze()
    async with frozen.write() as tx:
        await tx.execute("UPDATE accounts SET posted_nano = posted_nano + 1")
    assert [row[0] for row in await other.fetch("SELECT posted_nano FROM accounts")] == [3]
    await frozen.close()
    await other.close()


class Forgetful:
    """A proxy before PostgreSQL that can forget its connections without a word; new ones work."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._dead: set[int] = set()
        self._made = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        """Listens; returns its port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._made = self._made, self._made + 1
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, inner_writer]

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65_536):
                    if number not in self._dead:
                        target.write(data)
                        await target.drain()
            if number not in self._dead:
                target.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    def forget(self) -> None:
        """From now on nothing passes on the connections that there are."""
        self._dead = set(range(self._made))

    async def close(self) -> None:
        """Ends everything."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()


@pytest.mark.parametrize("within", [False, True], ids=["between", "within"])
async def test_a_connection_that_is_silently_gone(
    url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    """Reads and writes on it fail after a bounded time, between two transactions or within one; the next ones work."""
    monkeypatch.setattr("ledger.store.postgres.COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr("ledger.store.postgres.READ_TIMEOUT_S", 0.5)
    proxy = Forgetful(postgres.port)
    port = await proxy.start()
    store = await PostgresStore.open(url.replace(f":{postgres.port}/", f":{port}/"), timeout_s=10)
    await store.fetch("SELECT 1")

    async def write() -> None:
        if not within:
            proxy.forget()
        async with store.write() as tx:
            await tx.execute("INSERT INTO accounts VALUES ('key:a', 'metered', 1, 0)")
            proxy.forget()

    async with asyncio.timeout(10):
        with pytest.raises(StoreDown):
            await write()
        with pytest.raises(StoreDown):
            await store.fetch("SELECT 1")
        async with store.write() as tx:
            await tx.execute("INSERT INTO accounts VALUES ('key:b', 'metered', 1, 0)")
        assert [row[0] for row in await store.fetch("SELECT id FROM accounts")] == ["key:b"]
        await store.close()
    await proxy.close()


@on_postgresql
async def test_prices_are_there_again_after_a_restore(books: Books) -> None:
    """The database is another one after a reconnection, from before a price was known: the holds it takes have their price."""
    await books.key(nano=1000 * USD)
    hold = await books.hold("r1")
    async with books.store.write() as tx:
        await tx.execute("DELETE FROM prices")
    books.store._writer.terminate()
    await books.hold("r2")
    later = Books(books.store, books.clock, ())  # a ledger that sells other models, or at other prices
    later.sequence = books.sequence
    await later.settle(event("r1", SMALL), event("r2", SMALL))
    assert {row["billed_nano"] for row in await books.usage(hold.key_id)} == {billed(SMALL)}
    await books.check()


async def test_a_command_of_somebody_who_has_left(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waited longer than its sender does is not granted when the database is back."""
    monkeypatch.setattr("ledger.commits.writer.COMMAND_AGE_MAX_S", 0.2)
    await books.key(nano=1000 * USD)
    commit = books.committer._commit
    until_s = time.monotonic() + 0.5

    async def away(commands: Any, deliveries: Any) -> Any:
        if time.monotonic() < until_s:
            await asyncio.sleep(0.1)
            raise StoreDown("away")
        return await commit(commands, deliveries)

    books.committer._commit = away
    writer = books.start()
    answers: list[Any] = []
    writer.submit(command(books.request("old")), answers.append)

    async def back() -> bool:
        return time.monotonic() > until_s

    await until(back, "the database is back")
    assert isinstance(await ask(writer, books.request("new")), Hold)
    assert answers == []
    assert [row[0] for row in await books.store.fetch("SELECT request_id FROM holds")] == ["new"]
