"""The limits, in the order in which they are asked: what may refuse a hold beside the balance."""

from ledger.rules.book import Book
from ledger.rules.limits.base import Limit
from ledger.rules.limits.rates import RATES
from ledger.rules.rows import Hold, Key
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Refusal

LIMITS: tuple[Limit, ...] = (RATES,)


def before(book: Book, key: Key) -> Refusal | None:
    """The first refusal of any limit of a key's call, before it is priced. A key without limits is asked nothing."""
    if not book.accounts[key.account_id].limited:
        return None
    for limit in LIMITS:
        found = limit.before(book, key)
        if found is not None:
            return found
    return None


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


def give_back(book: Book, hold: Hold, billed_nano: int, usage: TokenUsage) -> None:
    """Gives back every limit's part of a hold that is no longer open."""
    for limit in LIMITS:
        limit.give_back(book, hold, billed_nano, usage)
