"""Owns how what bounds calls beside the balance is loaded and locked: caps with their periods, and rates.

A batch whose accounts are not limited, and whose holds count nowhere, asks the database for nothing here.
"""

from collections.abc import Iterable

from ledger.rules.book import Book
from ledger.rules.limits.base import counted, scopes
from ledger.rules.rows import Cap, CapPeriod, Profile, Rate, Row, row_of
from ledger.rules.rowset import RowSet, T
from ledger.store.base import Transaction
from ledger.store.statements import columns, table_of

_SELECTS: dict[type[Row], str] = {
    kind: f"SELECT {columns(table_of(kind))} FROM {kind.TABLE} WHERE "  # noqa: S608  made of our own column names
    for kind in (Cap, CapPeriod, Profile, Rate)
}


async def load_limits(tx: Transaction, book: Book) -> None:
    """Loads what the batch's limited keys and counted holds need, locked. Their accounts are locked already."""
    counts = [counted(hold) for hold in book.holds.values() if hold.limits]
    limited = [key for key in book.keys.values() if book.accounts[key.account_id].limited]
    if not counts and not limited:
        return
    named = {scope for key in limited for scope in scopes(key)}
    periods = {id_ for one in counts for id_ in one.p}
    if limited:
        await _fetch(tx, book.profiles, "id", {key.profile for key in limited} - _known(book.profiles))
        where = f"scope {tx.among} AND ended_ms = 0 ORDER BY id{tx.locked}"
        rows = await tx.fetch(_SELECTS[Cap] + where, tx.array(named))
        book.caps.load(row_of(Cap, row) for row in rows)
        current = "(end_ms = 0 OR end_ms > $2)"
        rows = await tx.fetch(
            f"SELECT id FROM cap_periods WHERE cap_id {tx.among} AND {current}",  # noqa: S608  tx.among is the store's own word
            tx.array({cap.id for cap in book.caps.values()}),
            tx.now_ms,
        )
        periods.update(row[0] for row in rows)
    await _fetch(tx, book.periods, "id", periods, locked=True)
    await _fetch(tx, book.rates, "scope", named | {scope for one in counts for scope in one.r}, locked=True)


def _known(rows: RowSet[Profile]) -> set[str]:
    return {row.id for row in rows.values()}


async def _fetch(
    tx: Transaction, rows: RowSet[T], column: str, values: Iterable[str], *, locked: bool = False
) -> None:
    wanted = set(values)
    if wanted:
        where = f"{column} {tx.among} ORDER BY {column}{tx.locked if locked else ''}"
        found = await tx.fetch(_SELECTS[rows.kind] + where, tx.array(wanted))
        rows.load(row_of(rows.kind, row) for row in found)
