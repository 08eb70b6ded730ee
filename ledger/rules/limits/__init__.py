"""The limits, in the order in which they are asked: what may refuse a hold beside the balance."""

from ledger.rules.book import Book
from ledger.rules.limits.base import Limit
from ledger.rules.rows import Hold
from schemas.verbs.calls import Authorise, Refusal

LIMITS: tuple[Limit, ...] = ()


def refusal(book: Book, request: Authorise, hold: Hold) -> Refusal | None:
    """The first refusal of any limit."""
    for limit in LIMITS:
        found = limit.check(book, request, hold)
        if found is not None:
            return found
    return None


def take(book: Book, hold: Hold) -> None:
    """Takes a new hold's part of every limit."""
    for limit in LIMITS:
        limit.take(book, hold)


def give_back(book: Book, hold: Hold, billed_nano: int) -> None:
    """Gives back every limit's part of a hold that is no longer open."""
    for limit in LIMITS:
        limit.give_back(book, hold, billed_nano)
