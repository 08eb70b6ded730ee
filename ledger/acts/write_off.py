"""Owns write-offs: usage that no balance covered is given up, so that it no longer stands as uncollected."""

from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.money import posting
from ledger.rules.money.posting import Why, credit_row
from ledger.rules.rows import BAD_DEBT, UNCOLLECTED, Kind
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import Rows
from schemas.verbs.money import WriteOff


def _wants(names: Wanted, _form: WriteOff, _digest: str) -> None:
    names.others.add(UNCOLLECTED)


def _write_off(book: Book, form: WriteOff, _digest: str) -> Rows:
    account = book.accounts.get(UNCOLLECTED)
    owed_nano = -account.posted_nano if account is not None else 0
    amount_nano = form.amount_nano or owed_nano
    why = Why(reason=form.reason)
    if owed_nano <= 0:
        return Rows(problem="nothing is uncollected")
    if not 0 < amount_nano <= owed_nano:
        return Rows(problem=f"at most {nano_to_usd(owed_nano)} USD can be written off")
    if problem := posting.why_problem(book, Kind.WRITE_OFF, why):
        return Rows(problem=problem)
    made = posting.post(book, UNCOLLECTED, amount_nano, kind=Kind.WRITE_OFF, other=BAD_DEBT, why=why)
    return Rows(
        ({"id": UNCOLLECTED, "uncollected_nano": owed_nano - amount_nano, "credit": credit_row(made)},)
    )


WRITE_OFF = Act(
    name=Kind.WRITE_OFF, form=WriteOff, wants=_wants, do=_write_off, newer=always, scopes=("money:write",)
)
