"""Owns copies of all tables of the books, which the machine takes and goes back to."""

import re
from typing import Any

from ledger.store.base import Store, Transaction
from tests.ledger.harness import TABLES


async def empty(store: Store) -> None:
    """Empties every table; the audit log begins anew."""
    async with store.write() as tx:
        await _delete(tx)
        await tx.execute("INSERT INTO audit_head (id, number, hash) VALUES (1, 0, '')")
        await tx.execute("INSERT INTO rollups (id, seq) VALUES ('usage', $1)", 0)


async def _delete(tx: Transaction) -> None:
    if tx.dialect == "postgresql":  # for this transaction no trigger guards the audit log
        await tx.execute("SET LOCAL session_replication_role = replica")
    for table in TABLES:
        await tx.execute(f"DELETE FROM {table}")


async def copy(store: Store) -> dict[str, list[Any]]:
    """The rows of every table."""
    return {table: [tuple(row) for row in await store.fetch(f"SELECT * FROM {table}")] for table in TABLES}


async def restore(store: Store, copy: dict[str, list[Any]]) -> None:
    """Puts a copy's rows in the place of those that are there."""
    async with store.write() as tx:
        await _delete(tx)
        for table in ("profiles", "accounts", *(t for t in TABLES if t not in {"profiles", "accounts"})):
            rows = copy[table]
            if rows:
                marks = ", ".join(f"${at}" for at in range(1, len(rows[0]) + 1))
                sql = f"INSERT INTO {table} VALUES ({marks})"
                tx._connection.executemany(re.sub(r"\$", "?", sql), rows) if store.dialect == "sqlite" else (
                    await tx._connection.executemany(sql, rows)
                )
