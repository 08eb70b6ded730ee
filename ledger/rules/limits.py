"""Owns the seam of limits: what may refuse a hold beside the balance, what a hold takes of it, what its end gives back.

A limit is a sibling in LIMITS, asked in this order. There is none yet, so the walk costs nothing.
"""

from collections.abc import Iterable
from typing import Protocol

from ledger.rules.book import Book
from ledger.rules.rows import Account, Hold, Key
from schemas.verbs.calls import Authorise, Refusal


class Limit(Protocol):
    """One thing that bounds a key's calls. Pure: it reads and changes rows of the book, and does no I/O."""

    name: str  # unlike any sibling's

    def wants(self, key: Key, account: Account) -> Iterable[str]:
        """Keys of the rows that it needs in the book. Only a later limit, with a table of its own, uses it: none are loaded."""
        ...

    def check(self, book: Book, request: Authorise, hold: Hold) -> Refusal | None:
        """Why the hold that would be made must not be; None if it may. Changes nothing: a later sibling may refuse."""
        ...

    def take(self, book: Book, hold: Hold) -> None:
        """Takes what a new hold needs. Called once, when no sibling has refused."""
        ...

    def give_back(self, book: Book, hold: Hold, billed_nano: int) -> None:
        """Gives back what a hold did not use. Called once, when it stops to be open.

        `billed_nano` is its bill at that moment; only a later limit uses it. A report that comes after an estimate or
        an expiry may still change the bill, and is not told here.
        """
        ...


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
