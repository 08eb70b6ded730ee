"""Owns how rows of one kind are read into a book: those that a condition names, or that have one of some values."""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from ledger.rules.rows import Row, row_of
from ledger.rules.rowset import RowSet, T
from ledger.store.base import Transaction
from ledger.store.statements import columns, table_of


@cache
def select(kind: type[Row]) -> str:
    """What reads rows of a kind, up to the condition."""
    return f"SELECT {columns(table_of(kind))} FROM {kind.TABLE} WHERE "  # noqa: S608  made of our own column names


async def fetch(tx: Transaction, rows: RowSet[T], where: str, *parameters: Any) -> None:
    """Loads the rows that meet a condition."""
    found = await tx.fetch(select(rows.kind) + where, *parameters)
    rows.load(row_of(rows.kind, row) for row in found)


async def fetch_by(
    tx: Transaction, rows: RowSet[T], column: str, values: Iterable[str], *, locked: bool = False
) -> None:
    """Loads the rows that have one of some values in a column, in its order; asks for nothing where there are none."""
    wanted: Collection[str] = set(values)
    if rows.kept and (column,) == rows.kind.KEY:
        wanted = rows.recall(wanted)  # asks for each of them: a batch has few, and many are kept
    if wanted:
        where = f"{column} {tx.among} ORDER BY {column}{tx.locked if locked else ''}"
        await fetch(tx, rows, where, tx.array(wanted))
