"""Owns what gives to a balance: deposits, promotional credit, goodwill. They differ in where the money is from."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.money import lots, posting
from ledger.rules.money.posting import Why
from ledger.rules.rows import DEPOSITS, GOODWILL, PROMOTIONS, Kind
from schemas.verbs.base import Rows
from schemas.verbs.money import Post

EXPIRES_S_MAX = 10 * 366 * 86_400  # from now


def wants(names: Wanted, form: Post, _digest: str) -> None:
    """The owner's account with its lots, and who used the reference."""
    owners.want(names, form.owner)
    if form.reference:
        names.references.add(form.reference)


def of(book: Book, form: Post) -> tuple[str, ...]:
    """The organisation whose balance it is."""
    return (owners.organization_of(book, form.owner),)


def grant(kind: str, source: str, *, lot: bool = False, reason: bool = False) -> Act[Post]:
    """An act that gives: from which account, whether as a lot, and whether it needs a reason."""

    def do(book: Book, form: Post, _digest: str) -> Rows:
        why = Why(reason=form.reason, reference=form.reference)
        owner = owners.find(book, form.owner)
        if isinstance(owner, Rows):
            return owner
        expires_ms = form.expires_ms or (book.now_ms + form.expires_in_s * 1000 if form.expires_in_s else 0)
        problem = (
            posting.amount_problem(form.amount_nano)
            or posting.why_problem(book, kind, why, needed=reason)
            or owners.receiving_problem(owner)
            or (posting.FULL if posting.too_much(book, form.amount_nano) else "")
            or _expiry_problem(book, kind, expires_ms)
            or (lots.FULL if lot and not lots.room(book, owner.account) else "")
        )
        if problem:
            return Rows(problem=problem)
        made = posting.post(
            book,
            owner.account.id,
            form.amount_nano,
            kind=kind,
            other=source,
            why=why,
            expires_ms=expires_ms,
            lot_nano=form.amount_nano if lot else 0,
        )
        return owners.answer(owner, made)

    # Ledgers of before know deposits, and nothing else that is given.
    return Act(
        name=kind,
        form=Post,
        wants=wants,
        do=do,
        newer=None if kind == Kind.DEPOSIT else always,
        scopes=("money:write",),
        of=of,
    )


def _expiry_problem(book: Book, kind: str, expires_ms: int) -> str:
    if not expires_ms:
        return ""
    if kind != Kind.PROMOTIONAL:
        return "only promotional credit expires"
    if not book.now_ms < expires_ms <= book.now_ms + EXPIRES_S_MAX * 1000:
        return "it must expire after now, and within ten years"
    return ""


DEPOSIT = grant(Kind.DEPOSIT, DEPOSITS)
PROMOTIONAL = grant(Kind.PROMOTIONAL, PROMOTIONS, lot=True)
GIFT = grant(Kind.GOODWILL, GOODWILL, lot=True, reason=True)
