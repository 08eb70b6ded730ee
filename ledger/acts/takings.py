"""Owns what takes from a balance, or corrects it by hand: adjustments both ways, and deposits that are returned."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.acts.grants import of, wants
from ledger.rules.book import Book
from ledger.rules.money import lots, posting
from ledger.rules.money.posting import Why
from ledger.rules.rows import ADJUSTMENTS, DEPOSITS, Account, Kind
from schemas.verbs.base import Rows
from schemas.verbs.money import Post


def _common(book: Book, kind: str, form: Post, amount_nano: int) -> str:
    if form.expires_ms or form.expires_in_s:
        return "only promotional credit expires"
    why = Why(reason=form.reason, reference=form.reference)
    return posting.amount_problem(amount_nano) or posting.why_problem(book, kind, why, needed=True)


def _adjust(book: Book, form: Post, _digest: str) -> Rows:
    owner = owners.find(book, form.owner)
    if isinstance(owner, Rows):
        return owner
    problem = _common(book, Kind.ADJUSTMENT, form, abs(form.amount_nano))
    if not problem and form.amount_nano > 0:
        full = posting.FULL if posting.too_much(book, form.amount_nano) else ""
        problem = owners.receiving_problem(owner) or full
    elif not problem and -form.amount_nano > owner.account.available_nano:
        problem = posting.short(
            owner.account, "is available", -form.amount_nano, owner.account.available_nano
        )
    if problem:
        return Rows(problem=problem)
    if form.amount_nano < 0:
        lots.take(book, owner.account, -form.amount_nano)
    why = Why(reason=form.reason, reference=form.reference)
    made = posting.post(
        book, owner.account.id, form.amount_nano, kind=Kind.ADJUSTMENT, other=ADJUSTMENTS, why=why
    )
    return owners.answer(owner, made)


def _return(book: Book, form: Post, _digest: str) -> Rows:
    owner = owners.find(book, form.owner)
    if isinstance(owner, Rows):
        return owner
    most_nano = returnable_nano(owner.account)
    problem = _common(book, Kind.DEPOSIT_RETURN, form, form.amount_nano)
    if not problem and form.amount_nano > most_nano:
        what = "can be returned: promotional credit and goodwill cannot"
        problem = posting.short(owner.account, what, form.amount_nano, most_nano)
    if problem:
        return Rows(problem=problem)
    why = Why(reason=form.reason, reference=form.reference)
    made = posting.post(
        book, owner.account.id, -form.amount_nano, kind=Kind.DEPOSIT_RETURN, other=DEPOSITS, why=why
    )
    return owners.answer(owner, made)


def returnable_nano(account: Account) -> int:
    """What of a balance was paid in and is free: neither held nor a lot."""
    return account.available_nano - account.lots_nano


ADJUSTMENT = Act(
    name=Kind.ADJUSTMENT, form=Post, wants=wants, do=_adjust, newer=always, scopes=("money:write",), of=of
)
DEPOSIT_RETURN = Act(
    name=Kind.DEPOSIT_RETURN, form=Post, wants=wants, do=_return, newer=always, scopes=("money:write",), of=of
)
