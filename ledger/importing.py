"""Owns how the books of a stopped SQLite file get into an empty PostgreSQL: all of them, proven, or nothing."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from ledger.store.base import StoreError
from ledger.store.migrate import head
from ledger.store.postgres import PostgresReader, PostgresStore, catch_up
from ledger.verbs.audit import audit

BUSY_TIMEOUT_S = 2.0
OPEN_TIMEOUT_S = 30.0
REVISION = "alembic_version"
# What migrations write, and a ledger that has only started: the file's own rows take their place.
SEEDED = frozenset(
    (
        "audit_head",
        "configurations",
        "ledgers",
        "models",
        "peppers",
        "prices",
        "rollups",
        "stream_positions",
        "told",
        "upstream_accounts",
    )
)
_COLUMNS_SQL = (
    "SELECT table_name, column_name, data_type FROM information_schema.columns "
    "WHERE table_schema = current_schema() AND table_name = ANY($1::text[]) ORDER BY ordinal_position"
)
_REFERENCES_SQL = (
    "SELECT c.relname, f.relname FROM pg_constraint JOIN pg_class c ON c.oid = conrelid "
    "JOIN pg_class f ON f.oid = confrelid WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
)
# What SQLite has in another form; of all else both drivers have the same.
_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {"boolean": bool, "numeric": Decimal}


async def import_books(file: Path, url: str) -> dict[str, int]:
    """Copies every table in one transaction, and answers with how many rows each has.

    Raises StoreError for a file that is in use or of another revision, for a database that has books already, and for
    books that the audit does not find in order; then the database is as it was.
    """
    store = await PostgresStore.open(url, timeout_s=OPEN_TIMEOUT_S)
    try:
        with _stopped(file) as books:
            await store.migrate()
            async with store.alone() as connection:
                tables = await _tables(connection, books)
                copied = {}
                for table, columns in tables.items():
                    copied[table] = await _copy(connection, books, table, columns)
                await catch_up(connection)
                proof = await audit(PostgresReader(connection), None)
                if not proof["ok"]:
                    first = proof["findings"][0]
                    raise StoreError(f"the audit of {file} finds {first['invariant']}: {first['detail']}")
    finally:
        await store.close()
    return copied


@contextlib.contextmanager
def _stopped(file: Path) -> Iterator[sqlite3.Connection]:
    """The file, which nobody else has open, at the newest revision."""
    try:
        uri = f"{file.absolute().as_uri()}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        ) as books:
            books.execute("PRAGMA locking_mode = EXCLUSIVE")
            books.execute("BEGIN EXCLUSIVE")
            ((revision,),) = books.execute(f"SELECT version_num FROM {REVISION}").fetchall()  # noqa: S608  the name is ours
            if revision != head():
                raise StoreError(
                    f"{file} is at revision {revision}, and this tokn at {head()}: run tokn up on it once, and stop it"
                )
            yield books
    except sqlite3.Error as error:
        raise StoreError(f"{file} cannot be read, or is in use: stop what runs on it ({error})") from error


async def _tables(connection: Any, books: sqlite3.Connection) -> dict[str, list[tuple[str, str]]]:
    """Each table of the file with its columns and their types in PostgreSQL, those first that others refer to."""
    names = [
        name
        for (name,) in books.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        if name != REVISION
    ]
    columns: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for table, column, kind in await connection.fetch(_COLUMNS_SQL, names):
        columns[table].append((column, kind))
    order = TopologicalSorter({name: set[str]() for name in sorted(names)})
    for table, needed in await connection.fetch(_REFERENCES_SQL):
        if table in columns and needed in columns:
            order.add(table, needed)
    return {name: columns[name] for name in order.static_order()}


async def _copy(
    connection: Any, books: sqlite3.Connection, table: str, columns: Sequence[tuple[str, str]]
) -> int:
    theirs = {row[1] for row in books.execute(f"PRAGMA table_info({table})")}
    if theirs != {name for name, _ in columns}:
        raise StoreError(f"the table {table} has other columns in the file than in the database")
    await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    if table in SEEDED:
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608  its name is one of ours
    elif await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608  as above
        raise StoreError(
            f"the database has books already, since its table {table} has rows: name an empty one"
        )
    names = [name for name, _ in columns]
    forms = [_FORMS.get(kind) for _, kind in columns]
    rows = books.execute(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608  as above
    await connection.copy_records_to_table(
        table,
        columns=names,
        records=(
            [
                value if form is None or value is None else form(value)
                for form, value in zip(forms, row, strict=True)
            ]
            for row in rows
        ),
    )
    ((expected,),) = books.execute(f"SELECT COUNT(*) FROM {table}").fetchall()  # noqa: S608  as above
    found = int(await connection.fetchval(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608  as above
    if found != expected:
        raise StoreError(f"{found} of {expected} rows of {table} were copied")
    await connection.execute(f"ANALYZE {table}")  # the audit reads all of it
    return found
