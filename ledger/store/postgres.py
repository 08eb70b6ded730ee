"""Owns the books on PostgreSQL: row locks instead of one big one, so that several ledgers share a database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import asyncpg

from ledger.store.base import (
    DriverErrors,
    Row,
    StoreConflict,
    StoreDown,
    StoreError,
    StoreRefused,
    again,
    is_at_fault,
)
from ledger.store.connecting import Link, reach
from ledger.store.filling import fill_migrated
from ledger.store.migrate import EMPTY, KNOWN_REVISION, head, script
from ledger.store.statements import Table, Update

READERS_MAX = 4
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 10.0  # of any one statement, BEGIN and COMMIT too: beyond it the connection is given up
READ_TIMEOUT_S = 10.0
AUDIT_TIMEOUT_S = 600.0
MIGRATION_TIMEOUT_S = 3_600.0  # an index of a large table takes its time, and other ledgers wait for it
OPEN_PAUSE_S = 0.3
_MIGRATION_LOCK = 0x746F6B6E  # "tokn": one ledger migrates, the others wait
_ISOLATION = "read_committed"
_NOW_SQL = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)"
# Whoever reads has no number as a transaction, nor has whoever has just begun to write: what takes longer only reads.
_PASSED_SQL = (
    "SELECT clock_timestamp() >= to_timestamp($1 / 1000.0) AND NOT EXISTS (SELECT 1 FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
    "AND xact_start < to_timestamp($1 / 1000.0) AND application_name <> 'tokn reader' "
    "AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - interval '60 s'))"
)
_HAS_REVISION_SQL = (
    "SELECT COUNT(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = 'alembic_version' AND n.nspname = ANY(current_schemas(false))"
)
NUMBERED = (("usage", "seq"), ("events", "seq"))  # each column that PostgreSQL numbers
_CATCH_UP_SQL = (
    "SELECT setval(sequence, newest) FROM (SELECT pg_get_serial_sequence('{table}', '{column}') AS sequence, "
    "(SELECT MAX({column}) FROM {table}) AS newest) AS numbered "
    "WHERE newest > COALESCE(pg_sequence_last_value(CAST(sequence AS regclass)), 0)"
)
_KNOWN = {"tokn.revision": str(KNOWN_REVISION)}  # a trigger lets no ledger write that does not say so
_WRITER_SETTINGS = {
    # A commit is durable or it has not happened, whatever the server's default says.
    "synchronous_commit": "on",
    # A ledger that is frozen, or whose machine is gone, must not keep its rows from the others.
    "idle_in_transaction_session_timeout": "5s",
    "statement_timeout": f"{COMMAND_TIMEOUT_S:.0f}s",
    # Every statement of the hot path finds its rows by key. A plan made while a table was small must not scan it.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    **_KNOWN,
}
_AUDIT_SETTINGS = {
    # One process that sums in memory: the calls' cores stay theirs, and it is the faster way at any size measured.
    "max_parallel_workers_per_gather": "0",
    "work_mem": "64MB",
    "statement_timeout": f"{AUDIT_TIMEOUT_S:.0f}s",
    "jit": "off",
    "application_name": "tokn reader",
}
_MIGRATION_SETTINGS = {"lock_timeout": "0", "statement_timeout": "0", **_KNOWN}
_CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
)
_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that ended in the middle of something
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.OutOfMemoryError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)


@lru_cache(maxsize=64)
def _insert_sql(table: Table) -> str:
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(table.types, 1))
    names = ", ".join(table.columns)
    values = ", ".join(_cast(name) for name in table.columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS new({names}){table.conflict}"  # noqa: S608  the names are ours, the values are parameters


@lru_cache(maxsize=64)
def _updates_sql(updates: tuple[Update, ...]) -> str:
    """One statement for several kinds of rows. It waits for a row once, not once a kind, and none of them sees another's."""
    said: list[str] = []
    first = 1
    for update in updates:
        said.append(_update_sql(update, first))
        first += len(update.columns)
    *before, last = said
    named = ", ".join(f"u{number} AS ({one})" for number, one in enumerate(before))
    return f"WITH {named} {last}" if before else last


@lru_cache(maxsize=64)
def _update_sql(update: Update, first: int = 1) -> str:
    kinds = dict(zip(update.table.columns, update.table.types, strict=True))
    arrays = ", ".join(f"${at}::{kinds[name]}[]" for at, name in enumerate(update.columns, first))
    sets = ", ".join(f"{name} = {_cast('new.' + name)}" for name in update.sets)
    keys = " AND ".join(f"old.{name} = new.{name}" for name in update.keys)
    names = ", ".join(update.columns)
    return f"UPDATE {update.table.name} AS old SET {sets} FROM unnest({arrays}) AS new({names}) WHERE {keys}"  # noqa: S608  as in _insert_sql


def _cast(name: str) -> str:
    return f"CAST({name} AS numeric)" if name.endswith("playground_credits_usd") else name


def _seen_as(error: BaseException) -> StoreError | None:
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, _CONFLICTS):
        return StoreConflict(str(error))
    if isinstance(error, _DOWN):
        return StoreDown(told)
    if isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError | OverflowError):
        return StoreRefused(told)
    return StoreError(told) if isinstance(error, asyncpg.PostgresError) else None


_ERRORS = DriverErrors(_seen_as)


class PostgresReader:
    """Reads on one connection."""

    dialect = "postgresql"
    among: ClassVar[str] = "= ANY($1::text[])"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Row]:
        """All rows."""
        with _ERRORS:
            rows: Sequence[Row] = await self._connection.fetch(sql, *parameters)
            return rows

    def array(self, values: Iterable[str]) -> list[str]:
        """Texts as one parameter."""
        return list(values)


class PostgresTransaction(PostgresReader):
    """One write transaction."""

    mark: ClassVar[None] = None
    locked: ClassVar[str] = " FOR UPDATE"
    locked_free: ClassVar[str] = " FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: Any, now_ms: int) -> None:
        super().__init__(connection)
        self.now_ms = now_ms

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows in one statement, column by column."""
        with _ERRORS:
            await self._connection.execute(_insert_sql(table), *zip(*rows, strict=True))

    async def update(self, update: Update, rows: Sequence[Row]) -> None:
        """Updates rows in one statement. They are locked already."""
        with _ERRORS:
            await self._connection.execute(_update_sql(update), *zip(*rows, strict=True))

    async def update_all(self, changes: Sequence[tuple[Update, Sequence[Row]]]) -> None:
        """Updates rows of several kinds in one statement: each round trip costs more than its rows."""
        columns = [column for _, rows in changes for column in zip(*rows, strict=True)]
        with _ERRORS:
            await self._connection.execute(_updates_sql(tuple(update for update, _ in changes)), *columns)

    async def execute(self, sql: str, *parameters: Any, timeout_s: float | None = None) -> None:
        """Runs one statement."""
        with _ERRORS:
            await self._connection.execute(sql, *parameters, timeout=timeout_s)


class PostgresStore:
    """The books in one database. `clock` replaces the database's clock (unix milliseconds), for tests."""

    dialect = "postgresql"
    among: ClassVar[str] = PostgresReader.among

    def __init__(self, url: str, clock: Callable[[], int] | None) -> None:
        self._url = url
        self._clock = clock
        self.connected_since = 0.0
        self._ahead_ms = 0  # of this machine's clock
        self._lock = asyncio.Lock()
        self._link = Link(url, CONNECT_TIMEOUT_S)
        self._writer: Any = None
        self._readers: Any = None

    @classmethod
    async def open(
        cls, url: str, clock: Callable[[], int] | None = None, *, timeout_s: float
    ) -> "PostgresStore":
        """Connects, trying for some time. Raises StoreDown."""
        store = cls(url.replace("postgresql+asyncpg:", "postgresql:", 1), clock)
        give_up = time.monotonic() + timeout_s
        while True:
            try:
                await store._connect()
            except StoreDown:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(OPEN_PAUSE_S)
            else:
                return store

    async def _connect(self) -> None:
        with _ERRORS:
            self._writer, link = await reach(
                self._url, CONNECT_TIMEOUT_S, _WRITER_SETTINGS, COMMAND_TIMEOUT_S
            )
            if self._readers is not None and link != self._link:
                self._readers.terminate()
                self._readers = None
            self._link = link
            if self._readers is None:
                self._readers = await link.pool(READERS_MAX, READ_TIMEOUT_S)
        self.connected_since = time.monotonic()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[PostgresTransaction]:
        """A transaction on the one connection that writes."""
        async with self._lock:
            if self._writer.is_closed():
                await self._connect()
            transaction = self._writer.transaction(isolation=_ISOLATION)
            try:
                with _ERRORS:
                    await transaction.start()
                    await self._link.set_local(self._writer, _WRITER_SETTINGS)
                now_ms = self._clock() if self._clock is not None else await self._now()
                yield PostgresTransaction(self._writer, now_ms)
                with _ERRORS:
                    await transaction.commit()
            except BaseException as error:
                if is_at_fault(error):
                    # Drop the connection: its statement may never return, and its prepared plans may be of
                    # replaced tables. The next transaction gets another one.
                    self._writer.terminate()
                else:
                    await self._roll_back(transaction)
                raise

    async def _roll_back(self, transaction: Any) -> None:
        try:
            await transaction.rollback()
        except (*_DOWN, asyncpg.PostgresError):
            self._writer.terminate()

    async def _now(self) -> int:
        with _ERRORS:
            now_ms = int(await self._writer.fetchval(_NOW_SQL))
        self._ahead_ms = now_ms - _machine_ms()
        return now_ms

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresReader]:
        """A consistent view on a connection of its own."""
        with _ERRORS:
            connection = await self._link.connect(_AUDIT_SETTINGS, AUDIT_TIMEOUT_S)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await self._link.set_local(connection, _AUDIT_SETTINGS)
                yield PostgresReader(connection)
        finally:
            await connection.close(timeout=COMMAND_TIMEOUT_S)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Row]:
        """All rows of one small read."""
        with _ERRORS:
            connection = await self._readers.acquire(timeout=READ_TIMEOUT_S)
            try:
                rows: Sequence[Row] = await connection.fetch(sql, *parameters)
            except (TimeoutError, OSError, asyncio.CancelledError):
                connection.terminate()  # one that does not answer would never be given back either
                raise
            finally:
                await self._readers.release(connection, timeout=READ_TIMEOUT_S)
            return rows

    def array(self, values: Iterable[str]) -> list[str]:
        """Texts as one parameter."""
        return list(values)

    def now_ms(self) -> int:
        """The database's clock, as far from this machine's as it was at the last transaction."""
        return self._clock() if self._clock is not None else _machine_ms() + self._ahead_ms

    async def moment(self) -> tuple[int, int]:
        """The next millisecond."""
        ((clock_ms,),) = await self.fetch(_NOW_SQL)
        return (int(clock_ms) if self._clock is None else self._clock()) + 1, int(clock_ms) + 1

    async def passed(self, clock_ms: int) -> bool:
        """Whether no transaction that could write is from before that moment."""
        ((passed,),) = await self.fetch(_PASSED_SQL, clock_ms)
        return bool(passed)

    async def migrate(self) -> None:
        """Takes the tables to the newest revision. Ledgers of before go on beside, and may meet it in another order."""
        await again(self._migrate)
        await fill_migrated(self)

    async def _migrate(self) -> None:
        with _ERRORS:
            connection = await self._link.connect(_MIGRATION_SETTINGS, MIGRATION_TIMEOUT_S)
            try:
                while (revision := await _revision(connection)) != head():
                    sql = script("postgresql", revision)
                    async with connection.transaction(isolation=_ISOLATION):
                        await self._link.set_local(connection, _MIGRATION_SETTINGS)
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
                        if await _revision(connection) == revision:
                            await connection.execute(sql)
                await catch_up(connection)
            finally:
                await connection.close(timeout=CONNECT_TIMEOUT_S)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        """The driver's own connection in a transaction that may take long, while nobody migrates."""
        with _ERRORS:
            connection = await self._link.connect(_MIGRATION_SETTINGS, MIGRATION_TIMEOUT_S)
            try:
                async with connection.transaction(isolation=_ISOLATION):
                    await self._link.set_local(connection, _MIGRATION_SETTINGS)
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
                    yield connection
            finally:
                await connection.close(timeout=CONNECT_TIMEOUT_S)

    async def close(self) -> None:
        """Ends all connections."""
        with contextlib.suppress(*_DOWN, asyncpg.PostgresError):
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await self._writer.close()
                await self._readers.close()


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


async def catch_up(connection: Any) -> None:
    """Puts sequences that are behind their tables after them: rows that were copied by hand have not moved them.

    A ledger that is beside it never has a row beyond a sequence, so this changes nothing for it.
    """
    for table, column in NUMBERED:
        await connection.execute(_CATCH_UP_SQL.format(table=table, column=column))


async def _revision(connection: Any) -> str:
    # A query of the catalogue, not to_regclass: that may answer from a cache older than the lock.
    if not await connection.fetchval(_HAS_REVISION_SQL):
        return EMPTY
    return str(await connection.fetchval("SELECT version_num FROM alembic_version"))
