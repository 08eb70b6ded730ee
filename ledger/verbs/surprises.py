"""Owns the answers about surprises: all that are in the books, and which of them a person has looked at."""

from typing import Any

from ledger.commits.commands import Write
from ledger.commits.load_save import surprise_rows
from ledger.rules.book import Book
from ledger.store.base import Store
from ledger.verbs.base import Read
from schemas.verbs import surprises as verbs
from schemas.verbs.base import Rows
from schemas.verbs.surprises import SurprisesForget

_SHOWN = ("pool", "account", "upstream", "uplift", "request_id")


async def surprises(store: Store) -> Rows:
    """Every surprise, the first that was met first."""
    rows: list[dict[str, Any]] = [
        {**dict(zip(_SHOWN, row, strict=False)), "created": row[-1] // 1000}
        for row in await surprise_rows(store.fetch)
    ]
    return Rows(tuple(rows))


def _forget(book: Book, request: SurprisesForget, _digest: str) -> Rows:
    book.forgotten.append((request.pool, request.account))
    return Rows()


SURPRISES = Read(verb=verbs.SURPRISES, answer=lambda services, _request: surprises(services.store))
SURPRISES_FORGET = Write(
    verb=verbs.SURPRISES_FORGET, wants=lambda _names, _request, _digest: None, answer=_forget
)
