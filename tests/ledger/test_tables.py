"""The tables: migrations on both databases, at once from several ledgers, and equal to what SQLModel declares."""

import asyncio
import sqlite3
from pathlib import Path

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledger import rows, sql, tables
from ledger.postgres import PostgresStore
from ledger.sqlite import SqliteStore
from ledger.statements import ACCOUNTS, HOLDS, KEYS, PARKED, PROFILES, TRANSFERS, USAGE
from tests.fakes.postgres import PostgresServer


def test_the_head_is_the_newest_file() -> None:
    """The revision that a ledger compares with, without Alembic, is Alembic's own head."""
    config = Config()
    config.set_main_option("script_location", str(sql.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == sql.head()


def test_migrations_make_what_is_declared(sqlite_template: Path) -> None:
    """After all migrations nothing is left to migrate."""
    engine = sqlalchemy.create_engine(f"sqlite:///{sqlite_template}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.SQLModel.metadata) == []
    engine.dispose()


def test_rows_have_the_columns_of_their_tables() -> None:
    """The structs of the hot path name every column, in the order of the table."""
    declared = tables.SQLModel.metadata.tables
    for table in (ACCOUNTS, HOLDS, KEYS, PARKED, PROFILES, TRANSFERS, USAGE):
        names = [column.name for column in declared[table.name].columns if column.name != "seq"]
        assert list(table.columns) == names
    assert rows.Hold.__struct_fields__ == HOLDS.columns


async def test_several_start_at_once(postgres: PostgresServer, tmp_path: Path) -> None:
    """Ledgers that start together on an empty database migrate it once, and all go on."""
    url = postgres.url(await postgres.database())
    stores = [await PostgresStore.open(url, timeout_s=10) for _ in range(3)]
    await asyncio.gather(*(store.migrate() for store in stores))
    for store in stores:
        assert [tuple(row) for row in await store.fetch("SELECT version_num FROM alembic_version")] == [
            (sql.head(),)
        ]
        await store.close()
    files = [SqliteStore(tmp_path / "books.db") for _ in range(3)]
    await asyncio.gather(*(store.migrate() for store in files))
    for store in files:
        await store.close()


def test_the_sql_is_plain_and_durable(tmp_path: Path) -> None:
    """`tokn ledger --sql` is PostgreSQL without a transaction of its own; SQLite's is what SQLite takes."""
    text = sql.render()
    assert "CREATE TABLE holds" in text
    assert "BEGIN;" not in text
    with sqlite3.connect(tmp_path / "plain.db") as connection:
        connection.executescript(sql.render("sqlite"))
    connection.close()
