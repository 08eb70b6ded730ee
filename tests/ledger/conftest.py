"""Owns the fixtures of ledger tests: each test of the books runs on SQLite and on PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.commits.commit import Committer
from ledger.store.base import Store
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from tests.fakes import collected
from tests.fakes.books import read
from tests.fakes.nats import NatsServer
from tests.fakes.postgres import PostgresServer
from tests.ledger.deployment import Deployment
from tests.ledger.harness import Books, Clock
from tests.ledger.proven import Proven


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole run; `books_template` in it has the tables."""
    with PostgresServer() as server:
        asyncio.run(_template(server))
        yield server


async def _template(server: PostgresServer) -> None:
    await server.administer("CREATE DATABASE books_template")
    store = await PostgresStore.open(server.url("books_template"), timeout_s=10)
    await store.migrate()
    await store.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables."""
    path = tmp_path_factory.mktemp("template") / "books.db"

    async def make() -> None:
        store = SqliteStore(path)
        await store.migrate()
        await store.close()

    asyncio.run(make())
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Both databases, one behaviour."""
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    """The database's clock."""
    return Clock()


@pytest.fixture(autouse=True)
def kept_as_in_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does: what its ledgers keep on SQLite is at each of their commits what the database has."""
    found: list[Any] = []
    made = Committer.__init__

    def make(self: Committer, store: Store, *parts: Any, **more: Any) -> None:
        made(self, store, *parts, **more)
        if isinstance(store, SqliteStore):
            self._kept = Proven(store, found)

    monkeypatch.setattr(Committer, "__init__", make)
    yield
    assert not found


class Source:
    """Makes stores with empty tables."""

    def __init__(self, made: Path | PostgresServer, clock: Clock, folder: Path) -> None:
        self._made = made
        self._clock = clock
        self.path = folder / "books.db"
        self.url = ""

    async def open(self) -> Store:
        """A store on a database of its own."""
        if isinstance(self._made, PostgresServer):
            self.url = self._made.url(await self._made.database("books_template"))
        else:
            self.url = f"sqlite:///{self.path}"
            shutil.copy(self._made, self.path)
        return await self.again()

    async def again(self) -> Store:
        """Another store on the same database."""
        if isinstance(self._made, PostgresServer):
            return await PostgresStore.open(self.url, self._clock, timeout_s=10)
        return SqliteStore(self.path, self._clock)


@pytest.fixture
def source(dialect: str, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Source]:
    """Where this test's stores come from. At its end no charge was beyond its hold, unless it is marked `uncollected`."""
    made = request.getfixturevalue("sqlite_template" if dialect == "sqlite" else "postgres")
    found = Source(made, clock, tmp_path)
    yield found
    if found.url and request.node.get_closest_marker(collected.MARKER) is None:
        collected.prove(read(found.url, collected.BEYOND))


@pytest.fixture
async def store(source: Source) -> AsyncIterator[Store]:
    """A store with empty tables."""
    opened = await source.open()
    yield opened
    await opened.close()


@pytest.fixture
async def books(store: Store, clock: Clock) -> AsyncIterator[Books]:
    """A ledger without a bus, with the built-in catalogue."""
    opened = await Books.open(store, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def deployment(source: Source, clock: Clock) -> AsyncIterator[Deployment]:
    """A deployment without a ledger."""
    with NatsServer() as server:
        made = Deployment(source, server, clock)
        await made.open()
        yield made
        await made.close()
