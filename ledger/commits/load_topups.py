"""Owns what an act on a top-up loads. Acts alone change top-ups, and they have the audit log's head by then."""

from typing import Final

from ledger.commits.fetching import fetch_by
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.store.base import Transaction

UNPAID_MS: Final = 86_400_000  # Stripe keeps an address to pay at for so long
_UNPAID_SQL: Final = (
    "SELECT COUNT(*) FROM topups WHERE organization = $1 AND created_ms > $2 AND status <> 'paid'"
)


async def load_topups(tx: Transaction, book: Book, names: Wanted) -> None:
    """One top-up with what was told of its payment, and a claim that may be another's; or how many an organisation has that nobody has paid."""
    if names.topup:
        await fetch_by(tx, book.paying.topups, "id", {names.topup})
        await fetch_by(tx, book.paying.claims, "topup", {names.topup})
        await fetch_by(tx, book.paying.claims, "id", {names.claim} - {""})
    if names.topups_of:
        ((unpaid,),) = await tx.fetch(_UNPAID_SQL, names.topups_of, tx.now_ms - UNPAID_MS)
        book.paying.unpaid = int(unpaid)
