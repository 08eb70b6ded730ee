"""Readiness follows the last commit: after one that failed, a row each second says when the next would go well."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.store.base import StoreDown
from schemas.bus.subjects import Role
from schemas.verbs.base import Done
from schemas.verbs.calls import Hold
from schemas.verbs.ping import PING, Ping
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import Books


@contextlib.asynccontextmanager
async def read_only(deployment: Deployment, writer: str) -> AsyncIterator[None]:
    """The database takes no writes, as a disk that is full, or a server that has failed over to its follower."""
    if deployment.store.dialect == "sqlite":
        file = sqlite3.connect(deployment.source.path, isolation_level=None)
        try:
            file.execute("BEGIN IMMEDIATE")
            yield
        finally:
            file.close()
        return
    url = deployment.source.url.replace("+asyncpg", "")
    link = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
    name = await link.fetchval("SELECT current_database()")
    try:
        await link.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        yield
        await link.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        if writer:
            await link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    finally:
        await link.close()


async def writes(deployment: Deployment) -> bool:
    """Whether the ledger says that its last commit went well."""
    with contextlib.suppress(Exception):
        return bool((await deployment.ask(Role.COMMAND, PING, Ping(), Done)).ok)
    return False


async def test_a_ledger_says_that_it_cannot_write(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first commit that fails on a ping says so, with nobody calling any more; once it can write it says that."""
    monkeypatch.setattr("ledger.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    await deployment.start()
    await deployment.key()
    assert await writes(deployment)
    async with read_only(deployment, "writer"):
        with contextlib.suppress(Exception):
            await deployment.authorise("r1")

        async def refused() -> bool:
            return not await writes(deployment)

        await until(refused, "the ledger says that it cannot write")

    async def back() -> bool:
        return await writes(deployment)

    await until(back, "the ledger says that it can write again")
    assert isinstance(await deployment.authorise("r2"), Hold)
    assert (await deployment.audit())["ok"]


async def test_a_probe_leaves_nothing(books: Books) -> None:
    """A probe really writes, on either database, and no row is left of it."""
    ((before,),) = await books.store.fetch("SELECT COUNT(*) FROM prices")
    await books.committer.probe()
    await books.committer.probe()
    assert [tuple(row) for row in await books.store.fetch("SELECT COUNT(*) FROM prices")] == [(before,)]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_probe_needs_room(books: Books) -> None:
    """On a disk without room a probe fails, though it would leave nothing: its pages go through the log."""
    file = books.store._writer
    folder = books.store._path
    ((mode,),) = await books.store.fetch("PRAGMA journal_mode")
    assert mode == "wal"
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log = folder.with_name(folder.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    await books.committer.probe()
    assert log.stat().st_size > size, "a probe is written to the log"
    file.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreDown):
        await books.committer.probe()
    file.execute("PRAGMA query_only = OFF")
