"""Books behind a pooler: the ledger's guards and its statements hold in each transaction, whatever connection it gets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.store import postgres as owned
from ledger.store.base import StoreDown
from ledger.store.postgres import PostgresStore
from runtime.settings.settings import SettingsError
from schemas.money.pricing import TokenUsage
from tests.fakes.pooler import PGBOUNCER, PgBouncer, Pooler
from tests.fakes.postgres import PASSWORD, PostgresServer
from tests.ledger.harness import USD, Books, Clock, event

# PgBouncer's ways: those of the real one run wherever it is installed.
IGNORED = "extra_float_digits," + ",".join(
    owned._WRITER_SETTINGS | owned._AUDIT_SETTINGS | owned._MIGRATION_SETTINGS
)
WAYS = ["own"] + (["transaction", "session", "ignoring"] if PGBOUNCER else [])
CALLS = 12
USED = TokenUsage(input=100, output=50)


@contextlib.asynccontextmanager
async def pooled(way: str, server: PostgresServer, database: str) -> AsyncIterator[str]:
    """The URL of a database behind a pooler."""
    pooler: Pooler | PgBouncer
    if way == "own":
        pooler = Pooler(server, database)
    else:
        mode = "transaction" if way == "ignoring" else way
        pooler = PgBouncer(server, mode, IGNORED if way == "ignoring" else "")
    async with pooler:
        yield f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{pooler.port}/{database}"


@pytest.mark.parametrize("way", WAYS)
async def test_books_behind_a_pooler(way: str, postgres: PostgresServer, clock: Clock) -> None:
    """Tables are made, calls are held and billed beside small reads, and the audit proves all of it."""
    database = await postgres.database()
    async with pooled(way, postgres, database) as url:
        store = await PostgresStore.open(url, clock, timeout_s=10)
        await store.migrate()
        books = await Books.open(store, clock)
        key_id = await books.key(nano=50 * USD)

        async def call(number: int) -> None:
            hold = await books.hold(f"req_{number}")
            await books.settle(event(hold.request_id, USED))

        async def look() -> None:
            for _ in range(CALLS):
                assert len(await books.usage()) <= CALLS

        await asyncio.gather(look(), look(), *map(call, range(CALLS)))
        posted, held = await books.balance(key_id)
        assert held == 0
        assert posted < 50 * USD
        assert len(await books.usage(key_id)) == CALLS
        await books.check()
        await books.close()


@pytest.mark.parametrize("way", WAYS)
async def test_the_guards_hold_in_each_transaction(way: str, postgres: PostgresServer) -> None:
    """What a direct connection has from its start, each transaction behind a pooler has, and leaves to nobody else."""
    database = await postgres.database()
    async with pooled(way, postgres, database) as url:
        store = await PostgresStore.open(url, timeout_s=10)
        await store.migrate()
        for _ in range(4):
            async with store.write() as tx:
                for name, value in owned._WRITER_SETTINGS.items():
                    assert [tuple(row) for row in await tx.fetch(f"SELECT current_setting('{name}')")] == [
                        (value,)
                    ]
            async with store.snapshot() as reader:
                assert [tuple(row) for row in await reader.fetch("SELECT current_setting('work_mem')")] == [
                    ("64MB",)
                ]
            rows = await store.fetch("SELECT current_setting('enable_seqscan')")
            assert [tuple(row) for row in rows] == [("on",)]
        await store.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_lost_connection_comes_back(way: str, postgres: PostgresServer) -> None:
    """A server connection that ends in a transaction takes only that one with it: the next goes well."""
    database = await postgres.database()
    async with pooled(way, postgres, database) as url:
        store = await PostgresStore.open(url, timeout_s=10)
        await store.migrate()

        async def cut() -> None:
            async with store.write() as tx:
                await tx.execute("INSERT INTO prices (ref, body) VALUES ($1, $2)", "half", "{}")
                await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(StoreDown):
            await cut()
        async with store.write() as tx:
            await tx.execute("INSERT INTO prices (ref, body) VALUES ($1, $2)", "whole", "{}")
        assert [tuple(row) for row in await store.fetch("SELECT ref FROM prices")] == [("whole",)]
        await store.close()


async def test_a_pooler_that_comes_later(postgres: PostgresServer) -> None:
    """A ledger that reconnects through a pooler, and straight again, goes on with what each way needs."""
    database = await postgres.database()
    store = await PostgresStore.open(postgres.url(database), timeout_s=10)
    await store.migrate()
    async with Pooler(postgres, database) as pooler:
        urls = {True: f"postgresql://postgres@127.0.0.1:{pooler.port}/{database}", False: store._url}
        for number, pooled in enumerate((True, False, True)):
            store._url = urls[pooled]
            store._writer.terminate()
            async with store.write() as tx:
                await tx.execute("INSERT INTO prices (ref, body) VALUES ($1, $2)", f"p{number}", "{}")
            assert store._link.pooled is pooled
            for _ in range(3):
                rows = await store.fetch("SELECT COUNT(*) FROM prices WHERE body = $1", "{}")
                assert rows[0][0] == number + 1
        await store.close()


async def test_a_direct_connection_is_as_before(postgres: PostgresServer) -> None:
    """Without a pooler statements are kept, and a transaction says nothing of settings."""
    database = await postgres.database()
    store = await PostgresStore.open(postgres.url(database), timeout_s=10)
    assert not store._link.pooled
    said: list[str] = []
    store._writer.add_query_logger(lambda record: said.append(record.query))
    async with store.write():
        pass
    await store.close()
    assert not [query for query in said if "SET" in query]


@pytest.mark.parametrize("way", WAYS[:2])
async def test_statement_pooling_is_refused(way: str, postgres: PostgresServer) -> None:
    """A pooler that keeps no transaction together is refused in one sentence that says what to set."""
    made = Pooler(postgres, "postgres", statements=True) if way == "own" else PgBouncer(postgres, "statement")
    async with made as pooler:
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{pooler.port}/postgres"
        with pytest.raises(SettingsError, match="pool_mode to transaction or session"):
            await PostgresStore.open(url, timeout_s=10)


async def test_a_wrong_password_is_no_pooler(postgres: PostgresServer) -> None:
    """What the server itself refuses is said as it is, and not taken for a pooler."""
    url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{postgres.port}/nowhere"
    with pytest.raises(Exception, match="nowhere") as refused:
        await PostgresStore.open(url, timeout_s=0.1)
    assert isinstance(refused.value.__cause__, asyncpg.InvalidCatalogNameError)
