"""Books of before acts: what was deposited there is told as credits, and they balance with what comes after."""

import contextlib
import sqlite3

from ledger.store import migrate
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from ledger.verbs.audit import findings
from schemas.verbs.money import Move, Post
from tests.fakes.postgres import PostgresServer
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock

BEFORE = "0005"
OLD = (
    "INSERT INTO profiles (id, playground_credits_usd, created_ms) VALUES ('p', {usd}, 1)",
    *(
        f"INSERT INTO accounts (id, kind, posted_nano, held_nano) VALUES ('{id_}', '{kind}', {nano}, 0)"
        for id_, kind, nano in (
            ("deposits", "system", -12 * USD),
            ("playground:p", "playground", 4 * USD),
            ("key:key_a", "metered", 8 * USD),
            ("key:key_b", "metered", 0),
        )
    ),
    *(
        "INSERT INTO api_keys (id, digest, name, profile, account_id, providers, playground, status, created_ms, "
        f"revoked_ms) VALUES ('key_{name}', '{name}', '', 'p', 'key:key_{name}', '', false, 'active', 1, 0)"
        for name in ("a", "b")
    ),
    *(
        "INSERT INTO transfers (request_id, kind, attempt, line, debit, credit, amount_nano, created_ms) "
        f"VALUES ('{id_}', 'deposit', 0, 0, 'deposits', '{account}', {nano}, 7000)"
        for id_, account, nano in (
            ("create:key_a", "key:key_a", 5 * USD),
            ("c1", "key:key_a", 3 * USD),
            ("c2", "playground:p", 4 * USD),
        )
    ),
)


async def test_deposits_of_before(
    dialect: str, source: Source, postgres: PostgresServer, clock: Clock
) -> None:
    """Each is a credit of its own; acts go on from there, and every invariant holds."""
    from ledger.store.declared import compile as compiling  # noqa: PLC0415  only who runs this pays for it

    store: SqliteStore | PostgresStore
    tables = compiling.step_sql(dialect, migrate.EMPTY, BEFORE)
    if dialect == "sqlite":
        path = source.path.with_name("old.db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(tables)
        store = SqliteStore(path, clock)
    else:
        url = postgres.url(await postgres.database())
        store = await PostgresStore.open(url, clock, timeout_s=10)
        async with store.write() as tx:
            await tx.execute(tables)
    async with store.write() as tx:
        for sql in OLD:
            await tx.execute(sql.format(usd="'4.00'" if dialect == "sqlite" else "4.00"))
    await store.migrate()
    rows = await store.fetch("SELECT id, kind, account_id, amount_nano, created_ms FROM credits ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("c1", "deposit", "key:key_a", 3 * USD, 7000),
        ("c2", "deposit", "playground:p", 4 * USD, 7000),
        ("create:key_a", "deposit", "key:key_a", 5 * USD, 7000),
    ]
    assert not await findings(store)
    books = await Books.open(store, clock)
    assert not (await books.act("move", Move(1, "key:key_a", "key:key_b", 6 * USD))).problem
    again = await books.credit("c1", 3 * USD, key_id="key_a")
    assert again.rows[0]["posted_nano"] == 2 * USD, "what was credited before is not credited again"
    assert not (await books.act("deposit_return", Post(1, "key:key_b", 6 * USD, "leaves"))).problem
    await books.check()
    await books.close()
