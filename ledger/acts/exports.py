"""Owns the act by which an export begins: it changes nothing, and its entry says who took what out of the books."""

from ledger.acts import owners
from ledger.acts.base import Act, Pictures
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.missing import missing
from schemas.verbs.base import Rows
from schemas.verbs.exports import EXPORTS, ExportBegin


def _wants(names: Wanted, form: ExportBegin, _digest: str) -> None:
    if form.organization:
        names.profiles.add(form.organization)


def _begin(book: Book, form: ExportBegin, _digest: str) -> Rows:
    if form.name not in EXPORTS:
        return Rows(problem=f"exports are {', '.join(EXPORTS)}")
    if form.organization and form.organization not in book.profiles:
        return missing(f"organisation {form.organization}")
    return Rows(({"id": form.name},))


def _tells(form: ExportBegin) -> Pictures:
    about = {"organization": form.organization, "since_ms": form.since_ms, "until_ms": form.until_ms}
    return {f"exports/{form.name}": {name: value for name, value in about.items() if value}}


EXPORT = Act(
    name="export",
    form=ExportBegin,
    wants=_wants,
    do=_begin,
    scopes=("money:read",),
    of=lambda book, form: (owners.organization(book, form.organization),),
    tells=_tells,
)
