"""Owns the act by which a person forgets surprises: later holds reckon with the default again."""

from ledger.acts.base import Act
from ledger.rules.book import Book
from schemas.verbs.base import Rows
from schemas.verbs.surprises import SurprisesForget


def _forget(book: Book, form: SurprisesForget, _digest: str) -> Rows:
    book.forgotten.append((form.pool, form.account))
    return Rows(({"id": f"{form.pool}:{form.account}" if form.account else form.pool},))


SURPRISES_FORGET = Act(
    name="surprises_forget",
    form=SurprisesForget,
    wants=lambda _names, _form, _digest: None,
    do=_forget,
    scopes=("pools:write",),
)
