"""Owns what a limit is: what may refuse a hold beside the balance, what a hold takes of it, what its end gives back."""

from typing import Protocol

from msgspec import structs

from ledger.rules.book import Book
from ledger.rules.counted import counted, written
from ledger.rules.rows import Hold, Key, Status
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Refusal

KEY = "key:"
ORGANIZATION = "org:"


def key_scope(key_id: str) -> str:
    """The scope of one key's caps and rates."""
    return f"{KEY}{key_id}"


def organization_scope(profile: str) -> str:
    """The scope of the caps and rates of all keys of an organisation together."""
    return f"{ORGANIZATION}{profile}"


def scopes(key: Key) -> tuple[str, str]:
    """The scopes that a key's calls count in."""
    return key_scope(key.id), organization_scope(key.profile)


def bounded(book: Book, key: Key) -> bool:
    """Whether a cap or a limit bounds a key's calls beside its balance."""
    own = key.rpm or key.tpm or key.in_flight or book.capped.get(key_scope(key.id))
    return bool(own) or bounded_together(book, key.profile)


def bounded_together(book: Book, organization: str) -> bool:
    """Whether a cap or a limit bounds the calls of all keys of an organisation together, or it is suspended."""
    if book.capped.get(organization_scope(organization)):
        return True
    row = book.profiles.get(organization)
    return row is not None and bool(row.rpm or row.tpm or row.in_flight or row.status == Status.SUSPENDED)


def count(book: Book, hold: Hold, **fields: tuple[str, ...] | int) -> None:
    """Notes where else a hold counts: replaces fields of its `Counted`."""
    hold.limits = written(structs.replace(counted(hold), **fields))
    book.holds.touch(hold)


class Limit(Protocol):
    """One thing that bounds a key's calls. Pure: it reads and changes rows of the book, and does no I/O."""

    name: str  # unlike any sibling's

    def before(self, book: Book, key: Key) -> Refusal | None:
        """Why a key's call must not be, whatever it would cost; None if it may. Changes nothing."""
        ...

    def check(self, book: Book, request: Authorise, hold: Hold) -> Refusal | None:
        """Why the hold that would be made must not be; None if it may. Changes nothing: a later sibling may refuse."""
        ...

    def take(self, book: Book, hold: Hold) -> None:
        """Takes what a new hold needs. Called once, when no sibling has refused."""
        ...

    def give_back(self, book: Book, hold: Hold, billed_nano: int, usage: TokenUsage) -> None:
        """Gives back what a hold did not use. Called once, when it stops to be open.

        `billed_nano` is its bill at that moment, `usage` what it used. A report that comes after an estimate or
        an expiry may still change the bill, and is not told here.
        """
        ...
