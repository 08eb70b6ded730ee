"""Owns the acts on top-ups: making one, noting where it is paid, and taking in what Stripe tells of it.

None of them is in `ACTS`: they are done where Stripe is configured, by what asks Stripe (`ledger.payments`).
"""

from typing import Final

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.keys import add_wallet
from ledger.rules.missing import missing
from ledger.rules.money import posting
from ledger.rules.money import topups as rules
from ledger.rules.money.topups import topup_row
from ledger.rules.topup_rows import Opened, Said, Topup, TopupStatus
from schemas.admin import verbs
from schemas.bus.subjects import new_id
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import Rows
from schemas.verbs.topups import CENT_NANO, LEAST_NANO, MOST_NANO, TopupCreate

UNPAID_MAX: Final = 50  # of an organisation in a day: each is an address that Stripe keeps
CURRENCY: Final = "usd"


def _create_wants(names: Wanted, form: TopupCreate, _digest: str) -> None:
    names.owners.add(form.organization)
    names.topups_of = form.organization


def _create(book: Book, form: TopupCreate, _digest: str) -> Rows:
    if form.organization not in book.profiles:
        return missing(f"organisation {form.organization}")
    if problem := _amount_problem(book, form.amount_nano):
        return Rows(problem=problem)
    if book.paying.unpaid >= UNPAID_MAX:
        return Rows(problem=f"{UNPAID_MAX} top-ups of a day are not paid: pay one of them, or wait")
    made = Topup(
        id=new_id("tup_"),
        organization=form.organization,
        amount_nano=form.amount_nano,
        currency=CURRENCY,
        created_ms=book.now_ms,
    )
    return Rows((topup_row(book.paying.topups.add(made)),))


def _amount_problem(book: Book, amount_nano: int) -> str:
    if not LEAST_NANO <= amount_nano <= MOST_NANO:
        return f"a top-up is from {nano_to_usd(LEAST_NANO)} to {nano_to_usd(MOST_NANO)} USD"
    if amount_nano % CENT_NANO:
        return "a top-up is in whole cents"
    return posting.FULL if posting.too_much(book, amount_nano) else ""


def _opened_wants(names: Wanted, form: Opened, _digest: str) -> None:
    names.topup = form.topup


def _opened(book: Book, form: Opened, _digest: str) -> Rows:
    topup = book.paying.topups.get(form.topup)
    if topup is None:
        return missing(f"top-up {form.topup}")
    if not topup.session:
        topup.session, topup.url, topup.live = form.session, form.url, form.live
        topup.status = TopupStatus.OPEN
        book.paying.topups.touch(topup)
    return Rows((topup_row(topup),))


def _said_wants(names: Wanted, form: Said, _digest: str) -> None:
    names.topup = form.topup
    names.owners.add(form.organization)
    names.organizations.add(form.organization)  # whatever takes money back may suspend it
    if form.claim is not None:
        names.claim = form.claim.id
    if form.payment:
        names.references.add(form.payment)


def _said(book: Book, form: Said, _digest: str) -> Rows:
    topup = book.paying.topups.get(form.topup)
    if topup is None:
        return missing(f"top-up {form.topup}")
    if problem := rules.problem(book, topup, form):
        return Rows(problem=problem)
    add_wallet(book, topup.organization)
    rules.take_in(book, topup, form)
    return Rows((topup_row(topup),))


TOPUP_CREATE = Act(
    name=verbs.TOPUP_CREATE,
    form=TopupCreate,
    wants=_create_wants,
    do=_create,
    newer=always,
    scopes=("money:read",),  # who may see a wallet may fill it, with money of his own
    of=lambda book, form: (owners.organization(book, form.organization),),
)
TOPUP_OPENED = Act(name="topup_opened", form=Opened, wants=_opened_wants, do=_opened, newer=always)
TOPUP_SAID = Act(name="topup_said", form=Said, wants=_said_wants, do=_said, newer=always)
