"""Owns moves of money between the keys of one organisation. Deposits go first; beyond them lots go, with their dates."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.keys import balance_row
from ledger.rules.money import lots, posting
from ledger.rules.money.posting import Why, credit_row
from ledger.rules.rows import Kind
from schemas.bus.subjects import new_id
from schemas.verbs.base import Rows
from schemas.verbs.money import Move


def _wants(names: Wanted, form: Move, _digest: str) -> None:
    owners.want(names, form.source)
    owners.want(names, form.target)


def _move(book: Book, form: Move, _digest: str) -> Rows:
    source, target = owners.find(book, form.source), owners.find(book, form.target)
    if isinstance(source, Rows):
        return source
    if isinstance(target, Rows):
        return target
    problem = _problem(book, form, source, target)
    if problem:
        return Rows(problem=problem)
    why = Why(reason=form.reason)
    carried: dict[int, int] = {}  # by their date
    for lot, nano in lots.take(book, source.account, form.amount_nano):
        carried[lot.expires_ms] = carried.get(lot.expires_ms, 0) + nano
    out = posting.post(
        book, source.account.id, -form.amount_nano, kind=Kind.MOVE, other=target.account.id, why=why
    )
    for expires_ms, nano in carried.items():
        posting.note(
            book,
            target.account.id,
            nano,
            id_=new_id("crd_"),
            kind=Kind.MOVE,
            why=why,
            transfer=out.id,
            expires_ms=expires_ms,
            lot_nano=nano,
        )
    if rest := form.amount_nano - sum(carried.values()):
        posting.note(
            book, target.account.id, rest, id_=new_id("crd_"), kind=Kind.MOVE, why=why, transfer=out.id
        )
    to = balance_row(target.id, target.account)
    return Rows(
        (
            balance_row(source.id, source.account)
            | {"account": source.account.id, "to": to, "credit": credit_row(out)},
        )
    )


def _problem(book: Book, form: Move, source: owners.Owner, target: owners.Owner) -> str:
    if source.account is target.account:
        return "both draw on one balance: there is nothing to move"
    if source.playground or target.playground:
        return "playground credits cannot be moved"
    if source.organization != target.organization:
        return f"{source.id} and {target.id} are of two organisations"
    available = source.account.available_nano
    return (
        posting.amount_problem(form.amount_nano)
        or posting.why_problem(book, Kind.MOVE, Why(reason=form.reason))
        or owners.receiving_problem(target)
        or ("" if lots.room(book, target.account, lots.count(book, source.account)) else lots.FULL)
        or (
            posting.short(source.account, "is available", form.amount_nano, available)
            if form.amount_nano > available
            else ""
        )
    )


MOVE = Act(
    name=Kind.MOVE,
    form=Move,
    wants=_wants,
    do=_move,
    newer=always,
    scopes=("money:write",),
    of=lambda book, form: tuple(owners.organization_of(book, one) for one in (form.source, form.target)),
)
