"""The tables: migrations on both databases, at once from several ledgers, and equal to what SQLModel declares."""

import asyncio
import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ledger.app import open_store
from ledger.rules import rows
from ledger.store import migrate
from ledger.store.base import Store
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from ledger.store.statements import ACCOUNTS, HOLDS, KEYS, PARKED, PROFILES, TRANSFERS, USAGE
from runtime.settings.settings import SettingsError
from tests.fakes.postgres import PostgresServer
from tests.ledger.conftest import Source


def test_the_head_is_the_newest_file() -> None:
    """The revision that a ledger compares with, without Alembic, is Alembic's own head."""
    from alembic.config import Config  # noqa: PLC0415  only who runs this pays for it
    from alembic.script import ScriptDirectory  # noqa: PLC0415  only who runs this pays for it

    from ledger.store.declared import compile as compiling  # noqa: PLC0415  only who runs this pays for it

    config = Config()
    config.set_main_option("script_location", str(compiling.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.head()


def test_the_sql_is_what_is_declared() -> None:
    """The files that ledgers run are what Alembic and SQLModel compile to today; `make sql` writes them."""
    from ledger.store.declared import compile as compiling  # noqa: PLC0415  only who runs this pays for it

    expected = compiling.files()
    assert {path: path.read_text() for path in expected} == expected
    assert set(migrate.FOLDER.rglob("*.*")) == expected.keys()


def test_migrations_make_what_is_declared(sqlite_template: Path, tmp_path: Path) -> None:
    """After all migrations nothing is left to migrate; indexes of expressions, which Alembic leaves out, are the same."""
    import sqlalchemy  # noqa: PLC0415  only who runs this pays for it
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  only who runs this pays for it
    from alembic.migration import MigrationContext  # noqa: PLC0415  only who runs this pays for it

    from ledger.store.declared import schema  # noqa: PLC0415  only who runs this pays for it

    migrated = sqlalchemy.create_engine(f"sqlite:///{sqlite_template}")
    declared = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    schema.SQLModel.metadata.create_all(declared)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection)
        with (
            pytest.warns(UserWarning, match="expression-based index 'usage_key'"),
            pytest.warns(sqlalchemy.exc.SAWarning, match="expression-based index usage_key"),
        ):
            assert compare_metadata(context, schema.SQLModel.metadata) == []
    indexes = []
    for engine in (migrated, declared):
        with engine.connect() as connection:
            found = connection.execute(
                sqlalchemy.text("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
            )
            indexes.append({name: " ".join(sql.split()) for name, sql in found if sql})
        engine.dispose()
    assert indexes[0] == indexes[1]


_OWN_TABLES = "m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'alembic_version'"
FACTS = {  # all that a database knows of the tables, but for Alembic's own
    "sqlite": (
        (
            "SELECT m.name, c.cid, c.name, c.type, c.'notnull', c.dflt_value, c.pk FROM sqlite_master m "
            f"JOIN pragma_table_xinfo(m.name) c WHERE {_OWN_TABLES} ORDER BY 1, 2"
        ),
        (
            "SELECT m.name, f.'table', f.'from', f.'to' FROM sqlite_master m "
            f"JOIN pragma_foreign_key_list(m.name) f WHERE {_OWN_TABLES} ORDER BY 1, 3"
        ),
        (
            "SELECT m.name, i.'unique', i.origin, i.partial, "
            "(SELECT group_concat(x.name) FROM pragma_index_info(i.name) x) AS columns FROM sqlite_master m "
            f"JOIN pragma_index_list(m.name) i WHERE {_OWN_TABLES} ORDER BY 1, 2, 3, 4, 5"
        ),
        (
            "SELECT m.name, t.wr, t.strict FROM sqlite_master m JOIN pragma_table_list t ON t.name = m.name "
            f"WHERE {_OWN_TABLES} ORDER BY 1"
        ),
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1",
    ),
    "postgresql": (
        (
            "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, "
            "numeric_precision, numeric_scale, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2"
        ),
        (
            "SELECT CAST(conrelid::regclass AS text), conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass ORDER BY 1, 2"
        ),
        (
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
        ),
    ),
}
CHECK = re.compile(r"CONSTRAINT (\w+) CHECK (\(.*\))")


def _declared(dialect: str) -> str:
    """The SQL that makes the tables as they are declared."""
    from sqlalchemy.dialects.postgresql.base import PGDialect  # noqa: PLC0415  only who runs this pays for it
    from sqlalchemy.dialects.sqlite.base import SQLiteDialect  # noqa: PLC0415  only who runs this pays for it
    from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415  only who runs this pays for it

    from ledger.store.declared import schema  # noqa: PLC0415  only who runs this pays for it

    kind = {"sqlite": SQLiteDialect, "postgresql": PGDialect}[dialect]()
    tables = schema.SQLModel.metadata.sorted_tables
    made = [str(CreateTable(table).compile(dialect=kind)) for table in tables]
    made += [str(CreateIndex(index).compile(dialect=kind)) for table in tables for index in table.indexes]
    return ";\n".join([*made, "CREATE TABLE alembic_version (version_num text)"]) + ";"


async def _facts(store: Store) -> list[list[tuple[Any, ...]]]:
    facts = [[tuple(row) for row in await store.fetch(sql)] for sql in FACTS[store.dialect]]
    if store.dialect == "sqlite":
        tables = await store.fetch("SELECT sql FROM sqlite_master WHERE type = 'table'")
        facts.append(sorted(check for (sql,) in tables for check in CHECK.findall(sql)))
    return facts


async def test_the_databases_know_the_same_of_both(
    dialect: str, source: Source, postgres: PostgresServer
) -> None:
    """Columns with types, nulls and defaults, keys, constraints and indexes are the same, declared and migrated."""
    declared: SqliteStore | PostgresStore
    if dialect == "sqlite":
        path = source.path.with_name("declared.db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(_declared(dialect))
        declared = SqliteStore(path)
    else:
        declared = await PostgresStore.open(postgres.url(await postgres.database()), timeout_s=10)
        async with declared.write() as tx:
            await tx.execute(_declared(dialect))
    migrated = await source.open()
    known, expected = await _facts(declared), await _facts(migrated)
    assert all(expected)
    assert known == expected
    for store in (declared, migrated):
        await store.close()


def test_rows_have_the_columns_of_their_tables() -> None:
    """The structs of the hot path name every column, in the order of the table."""
    from ledger.store.declared import schema  # noqa: PLC0415  only who runs this pays for it

    declared = schema.SQLModel.metadata.tables
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
            (migrate.head(),)
        ]
        await store.close()
    files = [SqliteStore(tmp_path / "books.db") for _ in range(3)]
    await asyncio.gather(*(store.migrate() for store in files))
    for store in files:
        await store.close()


EARLIER = migrate.revisions()[:-1]
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
}


@pytest.mark.parametrize("revision", EARLIER)
async def test_every_earlier_revision_goes_up(
    revision: str, dialect: str, source: Source, postgres: PostgresServer
) -> None:
    """Books of any earlier release keep what they have, and end with the tables and indexes of new ones."""
    from ledger.store.declared import compile as compiling  # noqa: PLC0415  only who runs this pays for it

    old: SqliteStore | PostgresStore
    if dialect == "sqlite":
        with contextlib.closing(sqlite3.connect(source.path.with_name("old.db"))) as connection:
            connection.executescript(compiling.step_sql(dialect, migrate.EMPTY, revision))
        old = SqliteStore(source.path.with_name("old.db"))
    else:
        old = await PostgresStore.open(postgres.url(await postgres.database()), timeout_s=10)
        async with old.write() as tx:
            await tx.execute(compiling.step_sql(dialect, migrate.EMPTY, revision))
    async with old.write() as tx:
        await tx.execute(
            "INSERT INTO accounts (id, kind, posted_nano, held_nano) VALUES ('key:old', 'metered', 7, 0)"
        )
    await old.migrate()
    new = await source.open()
    assert [tuple(row) for row in await old.fetch("SELECT version_num FROM alembic_version")] == [
        (migrate.head(),)
    ]
    assert [tuple(row) for row in await old.fetch("SELECT id, posted_nano FROM accounts")] == [("key:old", 7)]
    assert [tuple(row) for row in await old.fetch(INDEXES[dialect])] == [
        tuple(row) for row in await new.fetch(INDEXES[dialect])
    ]
    for store in (old, new):
        await store.close()


async def test_tables_of_a_newer_version(source: Source) -> None:
    """A ledger that finds tables of a revision that it does not know says so in one line, and changes nothing."""
    store = await source.open()
    async with store.write() as tx:
        await tx.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match="revision 9999, of a newer tokn"):
        await open_store(source.url)
    assert [tuple(row) for row in await store.fetch("SELECT version_num FROM alembic_version")] == [("9999",)]
    await store.close()


def test_the_sql_is_plain_and_durable(tmp_path: Path) -> None:
    """`tokn ledger --sql` is PostgreSQL without a transaction of its own; SQLite's is what SQLite takes."""
    text = migrate.script("postgresql")
    assert "CREATE TABLE holds" in text
    assert "BEGIN;" not in text
    with sqlite3.connect(tmp_path / "plain.db") as connection:
        connection.executescript(migrate.script("sqlite"))
    connection.close()
