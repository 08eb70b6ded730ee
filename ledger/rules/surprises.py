"""Owns when a call was served under what its hold had not reckoned with: a service tier, a region, a speed."""

import msgspec

from ledger.rules.book import Book
from ledger.rules.rows import Hold, Surprise, Terms
from schemas.bus.usage import UsageEvent
from schemas.money.pricing import SERVED_MODEL, Price, unpriced

NAME_CHARS_MAX = 64
NAMELESS = "?"  # stands for a name that cannot be kept: it has no price either
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


def uplifts_of(terms: Terms) -> tuple[str, ...]:
    """The names that a hold reckons with, for one of its models."""
    return _decode(terms.uplifts) if terms.uplifts != "[]" else ()


def note(book: Book, hold: Hold, event: UsageEvent) -> None:
    """Adds to the book what an event's tries were served under beyond what their hold covers."""
    for one in event.tries:
        if not one.uplifts:
            continue
        terms = book.terms(hold, event.candidate)
        if one.upstream != terms.upstream:
            continue
        for name in _unforeseen(book, terms, one.uplifts):
            book.surprised(
                Surprise(
                    pool=event.pool,
                    account=one.account,
                    upstream=one.upstream,
                    uplift=name,
                    request_id=event.request_id,
                    created_ms=book.now_ms,
                )
            )


def _unforeseen(book: Book, terms: Terms, uplifts: tuple[str, ...]) -> list[str]:
    price = book.catalogue.prices[terms.price_ref]
    expected = uplifts_of(terms)
    return [
        name if len(name) <= NAME_CHARS_MAX and name.isprintable() else NAMELESS
        for name in uplifts
        if name not in expected
        and not name.startswith(SERVED_MODEL)
        and (unpriced(price, (name,)) or _is_dearer(book, terms, price, (*expected, name)))
    ]


def _is_dearer(book: Book, terms: Terms, price: Price, uplifts: tuple[str, ...]) -> bool:
    covered = book.catalogue.list_bound(terms.price_ref, price, terms.prompt_max, uplifts_of(terms))
    served = book.catalogue.list_bound(terms.price_ref, price, terms.prompt_max, uplifts)
    return served.fixed > covered.fixed or served.per_output_token > covered.per_output_token
