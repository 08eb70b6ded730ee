"""Owns the books on SQLite: one connection that writes, one that reads, WAL with synchronous=FULL."""

import asyncio
import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from ledger.store.base import DriverErrors, Row, StoreConflict, StoreDown, StoreError, StoreRefused
from ledger.store.filling import fill_migrated
from ledger.store.migrate import EMPTY, KNOWN_REVISION, head, script
from ledger.store.statements import Table, Update

BUSY_TIMEOUT_S = 2.0
MOMENT_S = 0.002  # longer than a tick of the clock of the books
CACHE_KIB = 16_384
# 64 MiB of log. Calls of many keys touch pages all over large tables, and the same ones again soon: the longer the log, the
# more often a page is written to it before it is copied back once.
WAL_CHECKPOINT_PAGES = 16_000
WAL_CHECKPOINT_PAGES_MIN = 1_000  # 4 MiB
WAL_DISK_SHARE = 16  # on a small disk the log takes this part of what is free, at the most
WAL_PAGE_BYTES = 4_096 + 24  # of a page in the log, with its frame's head
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
# Of a file that cannot be opened: no wait makes a database of it. Anything else may pass, as a full disk does.
_HOPELESS = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
)
_encode = msgspec.json.Encoder().encode
_PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=512)
def _numbered(sql: str) -> str:
    return _PARAMETER.sub(r"?\1", sql)


@lru_cache(maxsize=64)
def _insert_sql(table: Table) -> str:
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks}){table.conflict}"  # noqa: S608  the names are ours, the values are parameters


@lru_cache(maxsize=64)
def _update_sql(update: Update) -> str:
    sets = ", ".join(f"{name} = ?" for name in update.sets)
    keys = " AND ".join(f"{name} = ?" for name in update.keys)
    return f"UPDATE {update.table.name} SET {sets} WHERE {keys}"  # noqa: S608  as in _insert_sql


def _seen_as(error: BaseException) -> StoreError | None:
    if isinstance(error, sqlite3.IntegrityError):
        kind = StoreConflict if error.sqlite_errorcode in _TAKEN else StoreRefused
        return kind(str(error))
    if isinstance(error, sqlite3.OperationalError | MemoryError):
        return StoreDown(str(error))
    if isinstance(error, sqlite3.DataError | sqlite3.InterfaceError | OverflowError):
        return StoreRefused(str(error))
    return StoreError(str(error)) if isinstance(error, sqlite3.Error) else None


_ERRORS = DriverErrors(_seen_as)


class SqliteReader:
    """Reads on one connection."""

    dialect = "sqlite"
    among: ClassVar[str] = "IN (SELECT value FROM json_each($1))"

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor | None = None) -> None:
        self._connection = connection
        self._thread = thread

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Row]:
        """All rows. A reader with a thread of its own never holds up the event loop."""
        if self._thread is None:
            with _ERRORS:
                return self._connection.execute(_numbered(sql), parameters).fetchall()
        loop = asyncio.get_running_loop()
        with _ERRORS:
            return await loop.run_in_executor(
                self._thread, lambda: self._connection.execute(_numbered(sql), parameters).fetchall()
            )

    def array(self, values: Iterable[str]) -> str:
        """Texts as one parameter: a JSON array."""
        return _encode(list(values)).decode()


class SqliteTransaction(SqliteReader):
    """One write transaction. The statements run in the event loop, since each takes microseconds."""

    locked: ClassVar[str] = ""  # BEGIN IMMEDIATE has locked everything
    locked_free: ClassVar[str] = ""

    def __init__(self, connection: sqlite3.Connection, now_ms: int, version: int) -> None:
        super().__init__(connection)
        self.now_ms = now_ms
        self._version = version

    @property
    def mark(self) -> tuple[int, int]:
        """What the file is now: its version, which others move, and how many rows this connection has changed."""
        return self._version, self._connection.total_changes

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows."""
        with _ERRORS:
            self._connection.executemany(_insert_sql(table), rows)

    async def update(self, update: Update, rows: Sequence[Row]) -> None:
        """Updates rows by key."""
        with _ERRORS:
            self._connection.executemany(_update_sql(update), rows)

    async def update_all(self, changes: Sequence[tuple[Update, Sequence[Row]]]) -> None:
        """Updates rows of several kinds by key."""
        for update, rows in changes:
            await self.update(update, rows)

    async def execute(self, sql: str, *parameters: Any, timeout_s: float | None = None) -> None:
        """Runs one statement."""
        del timeout_s  # nothing here takes long by waiting
        with _ERRORS:
            self._connection.execute(_numbered(sql), parameters)


class SqliteStore:
    """The books in one file. `clock` replaces the machine's clock (unix milliseconds), for tests."""

    dialect = "sqlite"
    among: ClassVar[str] = SqliteReader.among

    def __init__(self, path: Path, clock: Callable[[], int] | None = None) -> None:
        self._path = path
        self._clock = clock or (lambda: int(time.time() * 1000))
        self._writer = self._open()
        self.connected_since = time.monotonic()
        self._reader = SqliteReader(self._connect())
        self._down = False  # since the last commit
        self._lock = asyncio.Lock()
        self._commits = ThreadPoolExecutor(1, "ledger-commit")

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except StoreDown as error:
            code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
            if code in _HOPELESS:
                raise StoreError(str(error)) from error
            raise

    def _connect(self) -> sqlite3.Connection:
        pages = _wal_pages(self._path.parent)
        with _ERRORS:
            connection = sqlite3.connect(
                self._path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                f"cache_size = -{CACHE_KIB}",
                f"wal_autocheckpoint = {pages}",
                # What a long reader made longer is given back once the log begins anew.
                f"journal_size_limit = {pages * WAL_PAGE_BYTES}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            # A trigger that names it lets no ledger write that does not have it.
            connection.create_function(f"tokn_knows_{KNOWN_REVISION:04}", 0, lambda: 1, deterministic=True)
        return connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[SqliteTransaction]:
        """A transaction that has the database to itself. Its commit, which waits for the disk, runs in a thread."""
        async with self._lock:
            try:
                self._roll_back()  # what an earlier roll-back could not
                with _ERRORS:
                    self._writer.execute("BEGIN IMMEDIATE")
                    (version,) = self._writer.execute("PRAGMA data_version").fetchone()
                try:
                    yield SqliteTransaction(self._writer, self._clock(), version)
                except BaseException:
                    self._roll_back()
                    raise
                await self._commit()
            except StoreDown:
                self._down = True
                raise
            if self._down:
                # As after a reconnection: what was to be written meanwhile may have been given up.
                self._down, self.connected_since = False, time.monotonic()

    def _roll_back(self) -> None:
        with _ERRORS:
            if self._writer.in_transaction:  # a disk that is full, or fails, has ended it already
                self._writer.execute("ROLLBACK")

    async def _commit(self) -> None:
        # Shielded: a cancelled caller must not leave a transaction open for the next one.
        commit = asyncio.get_running_loop().run_in_executor(self._commits, self._writer.execute, "COMMIT")
        with _ERRORS:
            try:
                await asyncio.shield(commit)
            except asyncio.CancelledError:
                await asyncio.wait([commit])
                self._roll_back()  # if it has failed
                raise
            except (sqlite3.Error, MemoryError):
                self._roll_back()
                raise

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteReader]:
        """A consistent view on a connection and a thread of its own."""
        connection = self._connect()
        thread = ThreadPoolExecutor(1, "ledger-snapshot")
        try:
            connection.execute("BEGIN")
            yield SqliteReader(connection, thread)
        finally:
            thread.shutdown(wait=True)
            connection.close()

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Row]:
        """All rows of one small read."""
        return await self._reader.fetch(sql, *parameters)

    def array(self, values: Iterable[str]) -> str:
        """Texts as one parameter: a JSON array."""
        return msgspec.json.encode(list(values)).decode()

    def now_ms(self) -> int:
        """The clock that transactions have."""
        return self._clock()

    async def moment(self) -> tuple[int, int]:
        """The millisecond after the writer's own, and nothing else is written in that one any more."""
        async with self.write() as tx:
            await asyncio.sleep(MOMENT_S)
            return tx.now_ms + 1, 0

    async def passed(self, clock_ms: int) -> bool:
        """Always: whoever had a moment had the database to itself."""
        del clock_ms
        return True

    async def migrate(self) -> None:
        """Takes the tables to the newest revision."""
        while (revision := self._revision()) != head():
            sql = script("sqlite", revision)
            async with self.write():
                if self._revision() == revision:
                    for statement in _statements(sql):
                        self._writer.execute(statement)
        await fill_migrated(self)

    def _revision(self) -> str:
        found = self._writer.execute(
            "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
        ).fetchone()
        if found is None:
            return EMPTY
        return str(self._writer.execute("SELECT version_num FROM alembic_version").fetchone()[0])

    async def close(self) -> None:
        """Ends all connections."""
        async with self._lock:
            self._commits.shutdown(wait=True)
            self._reader._connection.close()  # noqa: SLF001  the reader is this store's own
            self._writer.close()


def _wal_pages(folder: Path) -> int:
    """After how many pages the log is copied back: few on a disk that has little room."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError:
        return WAL_CHECKPOINT_PAGES
    pages = free_bytes // (WAL_DISK_SHARE * WAL_PAGE_BYTES)
    return min(max(pages, WAL_CHECKPOINT_PAGES_MIN), WAL_CHECKPOINT_PAGES)


def _statements(script: str) -> Iterable[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
