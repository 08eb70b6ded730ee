"""Owns events whose cause is no commit of the books: told in a transaction of their own, by one ledger, once a change."""

from collections.abc import Sequence

from ledger.commits.load_save import save
from ledger.prices.offers import Catalogue
from ledger.rules.book import Book, Rules, Told
from ledger.store.base import Transaction

_SEEN_SQL = "SELECT state FROM told WHERE id = $1"
_SET_SQL = (
    "INSERT INTO told (id, state, at_ms) VALUES ($1, $2, $3) "
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms"
)


def lone_book(tx: Transaction) -> Book:
    """A book for a transaction that changes nothing else."""
    return Book(Catalogue(()), tx.now_ms, Rules())


async def tell(tx: Transaction, events: Sequence[Told]) -> None:
    """Tells of these."""
    book = lone_book(tx)
    book.told.extend(events)
    await save(tx, book, None)


async def turned(tx: Transaction, id_: str, state: str) -> str | None:
    """Notes the state that something is in now. The one that was told before, "" for none; None if it is the same."""
    rows = await tx.fetch(_SEEN_SQL + tx.locked, id_)
    before = str(rows[0][0]) if rows else ""
    if before == state:
        return None
    await tx.execute(_SET_SQL, id_, state, tx.now_ms)
    return before
