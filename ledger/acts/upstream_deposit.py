"""Owns top-ups of a pool's account, when we have paid our provider: its credit goes up, or back down, never below zero."""

from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.missing import missing
from ledger.rules.money import posting
from ledger.rules.money.posting import Why, credit_row
from ledger.rules.rows import UPSTREAM_DEPOSITS, Kind, upstream_id
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import Rows
from schemas.verbs.money import UpstreamDeposit


def _wants(names: Wanted, form: UpstreamDeposit, _digest: str) -> None:
    names.others.add(upstream_id(form.pool, form.account))
    names.upstream.add((form.pool, form.account))
    if form.reference:
        names.references.add(form.reference)


def _deposit(book: Book, form: UpstreamDeposit, _digest: str) -> Rows:
    name = f"{form.pool}:{form.account}"
    limited = book.upstream.get((form.pool, form.account))
    if limited is None:
        return missing(f"account {name}")
    if not limited:
        return Rows(problem=f"the credit of account {name} has no limit: give it credit_usd first")
    account = book.accounts.get(upstream_id(form.pool, form.account))
    left_nano = account.posted_nano if account is not None else 0
    why = Why(reason=form.reason, reference=form.reference)
    problem = posting.amount_problem(abs(form.amount_nano)) or posting.why_problem(
        book, Kind.UPSTREAM_DEPOSIT, why
    )
    if not problem and form.amount_nano < 0 and -form.amount_nano > left_nano:
        problem = f"account {name} has {nano_to_usd(left_nano)} USD left: no more can be taken"
    if not problem and left_nano + form.amount_nano > posting.DEPOSITS_MAX_NANO:
        problem = "an account has at most 4 billion USD"
    if problem:
        return Rows(problem=problem)
    made = posting.post(
        book,
        upstream_id(form.pool, form.account),
        form.amount_nano,
        kind=Kind.UPSTREAM_DEPOSIT,
        other=UPSTREAM_DEPOSITS,
        why=why,
    )
    return Rows(({"id": name, "credit_nano": left_nano + form.amount_nano, "credit": credit_row(made)},))


UPSTREAM_DEPOSIT = Act(
    name=Kind.UPSTREAM_DEPOSIT, form=UpstreamDeposit, wants=_wants, do=_deposit, scopes=("pools:write",)
)
