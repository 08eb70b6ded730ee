"""An upgrade under load: a database of the last release, with a ledger of that release beside."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ledger.commits import ledgers
from ledger.commits.ledgers import OLDER_RUNS
from ledger.commits.roll import Roll
from ledger.store import filling
from ledger.store.base import Store
from ledger.store.filling import LEAST
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold
from schemas.verbs.keys import KeyRotate
from tests.fakes import neighbour
from tests.fakes.neighbour import Neighbour
from tests.fakes.postgres import PostgresServer
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock, digest_of, event

# What accounts have spent, and what their transfers say.
UNTRUE = """
    SELECT a.id, a.spent_nano, COALESCE(s.nano, 0) FROM accounts a LEFT JOIN (
        SELECT account, SUM(nano) AS nano FROM (
            SELECT debit AS account, amount_nano AS nano FROM transfers WHERE kind = 'charge'
            UNION ALL SELECT credit, -amount_nano FROM transfers WHERE kind = 'charge') AS sides
        GROUP BY account) AS s ON s.account = a.id
    WHERE a.kind IN ('metered', 'playground') AND a.spent_nano <> COALESCE(s.nano, 0)
"""
PART_CALLS = 50_000  # that one statement copies: each has a deadline
# Copies of one settled call, with the balances that they make.
NUMBERS = "WITH RECURSIVE n(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {last}) "
FILL = (
    "CREATE TABLE filled AS " + NUMBERS + "SELECT 'fill' || n AS id FROM n",
    "INSERT INTO holds SELECT f.id, {holds} FROM holds h, filled f WHERE h.request_id = 'call1'",
    "INSERT INTO usage (request_id, {usage}) SELECT f.id, {usage} FROM usage h, filled f WHERE h.request_id = 'call1'",
    "INSERT INTO transfers SELECT f.id, {transfers} FROM transfers h, filled f WHERE h.request_id = 'call1'",
    (
        "UPDATE accounts SET posted_nano = posted_nano + {size} * COALESCE((SELECT SUM(CASE WHEN credit = accounts.id "
        "THEN amount_nano ELSE -amount_nano END) FROM transfers WHERE request_id = 'call1' "
        "AND (credit = accounts.id OR debit = accounts.id)), 0)"
    ),
    "DROP TABLE filled",
)


async def fill(old: Neighbour, store: Store, count: int) -> None:
    """Makes a large database of a small one, as the last release has its tables."""
    columns: dict[str, Any] = {}
    for table in ("holds", "usage", "transfers"):
        sql = {
            "sqlite": f"SELECT name FROM pragma_table_info('{table}') ORDER BY cid",
            "postgresql": f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 "
            "ORDER BY attnum",
        }[store.dialect]
        names = [row[0] for row in await store.fetch(sql)]
        columns[table] = ", ".join(name for name in names if name not in ("request_id", "seq"))
    for first in range(1, count + 1, PART_CALLS):
        last = min(first + PART_CALLS - 1, count)
        part = columns | {"first": first, "last": last, "size": last - first + 1}
        for statement in FILL:
            assert await old.ask("execute", statement.format(**part)) == "executed"


@pytest.fixture
def server(dialect: str, request: pytest.FixtureRequest) -> PostgresServer | None:
    """The server of a test on PostgreSQL."""
    return request.getfixturevalue("postgres") if dialect == "postgresql" else None


async def without_tables(server: PostgresServer | None, folder: Path, clock: Clock) -> tuple[str, Store]:
    """An empty database, and a store that has not migrated it."""
    if server is None:
        path = folder / "old.db"
        return f"sqlite:///{path}", SqliteStore(path, clock)
    url = server.url(await server.database())
    return url, await PostgresStore.open(url, clock, timeout_s=10)


async def upgrade(store: Store, old: Neighbour, clock: Clock, count: int) -> int:
    """The whole way, from the last release's tables to books that no ledger of it can change.

    How often the older one found the database locked: it has tried again, as a ledger does.
    """
    assert await old.ask("calls", 3) == 3
    await fill(old, store, count)
    await old.ask("loop")
    await store.migrate()
    books = await Books.open(store, clock)
    books.sequence = 1_000_000
    await Roll(store, books.writer, "new").call()
    for number in range(20):
        await books.hold(f"new{number}", "old")
        await books.settle(event(f"new{number}", TokenUsage(input=10, output=5)))
    seen = await old.ask("done")
    while True:  # the older one goes on beside, and is seen by what it applies
        done = await old.ask("done")
        assert isinstance(done, int), done
        if done > seen + 1:
            break
    ((key_id,),) = await store.fetch("SELECT id FROM api_keys")
    rotation = KeyRotate(1, key_id, digest_of("second"), "cond", 0)
    assert (await books.do(rotation)).problem == OLDER_RUNS
    calls = await old.ask("stop")
    ((billed,),) = await store.fetch(
        "SELECT COUNT(*) FROM usage WHERE request_id LIKE 'loop%' AND billed_nano > 0"
    )
    assert billed == calls, "the older one loses no call"
    assert await store.fetch(UNTRUE), "what the older one has charged since is not counted yet"
    async with store.write() as tx:
        await tx.execute("UPDATE ledgers SET seen_ms = 0 WHERE id = 'unknown'")
    if count > ledgers.AT_ONCE_CALLS:
        assert (await books.do(rotation)).problem == OLDER_RUNS, "so many are taken over beside calls"
        await ledgers.take_over(store)
    assert not (await books.do(rotation)).problem
    assert not await store.fetch(UNTRUE)
    refused = await old.ask("calls", 1)
    assert "error" in refused, "an older ledger moves no money any more"
    assert (await books.authorise("by-first", "old")).reason == "expired"
    assert isinstance(await books.authorise("by-second", "second"), Hold)
    await books.settle(event("by-second", TokenUsage(input=10, output=5)))
    assert not await store.fetch(UNTRUE)
    proof = await books.check()
    assert proof["calls"] > count
    return int(await old.ask("locked"))


@pytest.mark.skipif(not neighbour.known(), reason="this clone has not the last release")
async def test_an_upgrade_beside_the_last_release(
    server: PostgresServer | None, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ledgers serve calls; what the older one would break waits for it; then sums are true and it can write no more."""
    monkeypatch.setattr(ledgers, "AT_ONCE_CALLS", 1_000)
    await _upgrade(server, tmp_path, clock, 10_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not neighbour.known(), reason="this clone has not the last release")
async def test_an_upgrade_of_a_million_rows(
    server: PostgresServer | None, tmp_path: Path, clock: Clock
) -> None:
    """The same with 10⁶ calls; the older one never waits for so long that it has to try again."""
    assert await _upgrade(server, tmp_path, clock, 1_000_000) == 0


async def _upgrade(server: PostgresServer | None, folder: Path, clock: Clock, count: int) -> int:
    url, store = await without_tables(server, folder, clock)
    try:
        async with Neighbour(url, folder) as old:
            return await upgrade(store, old, clock, count)
    finally:
        await store.close()


async def _older(source: Source, *statements: str) -> None:
    """Statements of a connection that knows nothing of newer ledgers."""
    if source.url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(source.path, isolation_level=None)) as link:
            for statement in statements:
                link.execute(statement)
        return
    link = await asyncpg.connect(source.url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await link.execute(statement)
    finally:
        await link.close()


MOVE = "UPDATE accounts SET posted_nano = posted_nano WHERE kind = 'metered'"


async def test_what_older_ledgers_leave_and_may_not_do(source: Source, clock: Clock) -> None:
    """Whoever moves the stream's position in the old way is seen; once the books are taken over, its accounts are closed to it."""
    store = await source.open()
    books = await Books.open(store, clock)
    key_id = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", TokenUsage(input=10, output=5)))
    assert not await store.fetch("SELECT id FROM ledgers"), "one that knows is not taken for an older one"
    await _older(source, MOVE, "UPDATE stream_positions SET applied_seq = applied_seq")
    assert [row[0] for row in await store.fetch("SELECT id FROM ledgers")] == ["unknown"]
    assert (await books.do(KeyRotate(1, key_id, digest_of("k2"), "", 0))).problem == OLDER_RUNS
    async with store.write() as tx:
        await tx.execute("UPDATE ledgers SET seen_ms = $1", clock.ms - 60_000)
    assert not (await books.do(KeyRotate(1, key_id, digest_of("k2"), "", 0))).problem
    assert [row[0] for row in await store.fetch("SELECT id FROM ledgers WHERE id = 'least'")] == [LEAST]
    with pytest.raises((sqlite3.Error, asyncpg.PostgresError), match=r"tokn_knows_0006|newer ledger"):
        await _older(source, MOVE)
    await books.hold("r2", "k2")
    await books.check()
    again = Books(await source.again(), clock)
    await again.hold("r3", "k2")
    assert not (await again.do(KeyRotate(1, key_id, digest_of("k3"), "", 0))).problem
    await again.close()
    await store.close()


async def test_what_is_filled_in_part_by_part(
    source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fill that was broken off is gone on with; one that others race with, or a call, counts nothing twice."""
    monkeypatch.setattr(filling, "PART_ROWS", 1)
    store = await source.open()
    books = await Books.open(store, clock)
    for name in ("a", "b", "c"):
        await books.key(name)
        await books.hold(name, name)
        await books.settle(event(name, TokenUsage(input=10, output=5)))
    given = sorted(map(tuple, await store.fetch("SELECT kind, account_id, amount_nano FROM credits")))
    async with store.write() as tx:
        await tx.execute("UPDATE accounts SET spent_nano = 0")
        await tx.execute("DELETE FROM credits")
    first = await store.fetch(UNTRUE)
    await filling._write(store, filling._COUNT, [(first[0][2], first[0][0], 0), (7, first[1][0], 1)])
    assert len(await store.fetch(UNTRUE)) == 2
    other = await source.again()
    async with asyncio.TaskGroup() as group:
        for one in (store, other, store):
            group.create_task(filling.fill(one))
        await books.hold("d", "a")
        await books.settle(event("d", TokenUsage(input=10, output=5)))
    assert await filling.fill(store)
    assert not await store.fetch(UNTRUE)
    assert sorted(map(tuple, await store.fetch("SELECT kind, account_id, amount_nano FROM credits"))) == given
    await books.check()
    await other.close()
    await store.close()


async def test_a_ledgers_row_is_kept_and_forgotten(source: Source, clock: Clock) -> None:
    """A ledger's row says when it was last there; one that ended a day ago is taken away, what the books need is not."""
    store = await source.open()
    books = await Books.open(store, clock)
    key_id = await books.key()
    assert not (await books.do(KeyRotate(1, key_id, digest_of("k2"), "", 0))).problem
    await Roll(store, books.writer, "one").call()
    clock.turn(90_000)
    await Roll(store, books.writer, "two").call()
    assert {row[0] for row in await store.fetch("SELECT id FROM ledgers")} == {"two", LEAST}
    await store.close()
