"""Owns what is booked of payments through Stripe: given once, and taken back as far as refunds and disputes reach. No I/O.

Events come twice, late and in any order. So none of them says what to book: each adds to what is known of its payment,
in such a way that the order does not matter, and what is booked is then the difference to what follows from all of it.
"""

from typing import Final

from ledger.rules.book import Book
from ledger.rules.money import posting
from ledger.rules.money.posting import Why
from ledger.rules.rows import BAD_DEBT, DEPOSITS, Account, Kind, Status, wallet_id
from ledger.rules.topup_rows import Claim, ClaimKind, Said, Topup, TopupStatus
from schemas.bus.subjects import new_id
from schemas.verbs.topups import CENT_NANO

_STATUSES: Final = (
    TopupStatus.CREATED,
    TopupStatus.OPEN,
    TopupStatus.PROCESSING,
    TopupStatus.EXPIRED,
    TopupStatus.FAILED,
    TopupStatus.PAID,
)
DISPUTED: Final = frozenset(("needs_response", "under_review", "lost"))  # Stripe has taken the money
_CLAIMED: Final = DISPUTED | {"won"}  # no mere inquiry
# What comes after what, where two events have one second.
_TURNS: Final = {"needs_response": 1, "under_review": 2, "succeeded": 3, "won": 4, "lost": 4} | dict.fromkeys(
    ("failed", "canceled", "warning_closed", "prevented"), 5
)
UNDONE: Final = frozenset(("failed", "canceled"))  # refunds that never reached anybody


def topup_row(topup: Topup) -> dict[str, object]:
    """A top-up as commands and consoles show it."""
    return {
        "object": "topup",
        "id": topup.id,
        "organization": topup.organization,
        "amount_nano": topup.amount_nano,
        "currency": topup.currency,
        "status": topup.status,
        "url": topup.url if topup.status == TopupStatus.OPEN else None,
        "live": topup.live,
        "payment": topup.payment or None,
        "credited_nano": topup.given_nano,
        "returned_nano": topup.returned_nano,
        "disputed_nano": topup.disputed_nano,
        "bad_debt_nano": topup.returned_debt_nano + topup.disputed_debt_nano,
        "created": topup.created_ms // 1000,
    }


def problem(book: Book, topup: Topup, said: Said) -> str:
    """Why what is said cannot be of this payment; empty if it can."""
    if topup.payment and said.payment and topup.payment != said.payment:
        return f"top-up {topup.id} was paid by another payment"
    known = None if said.claim is None else book.paying.claims.get(said.claim.id)
    if known is not None and known.topup != topup.id:
        return f"{known.kind} {known.id} is of top-up {known.topup}"
    return ""


def take_in(book: Book, topup: Topup, said: Said) -> None:
    """Adds what an event says to what is known of its payment, and books the difference."""
    was = (topup.payment, topup.status, topup.refunded_cents)
    topup.payment = topup.payment or said.payment
    if said.status:
        topup.status = max(topup.status, said.status, key=_STATUSES.index)
    topup.refunded_cents = max(topup.refunded_cents, said.refunded_cents)
    if was != (topup.payment, topup.status, topup.refunded_cents):
        book.paying.topups.touch(topup)
    if said.claim is not None:
        _note(book, topup, said.claim)
    _book(book, topup, said)


def _note(book: Book, topup: Topup, claim: Claim) -> None:
    """Takes a claim as it was told last. With the first word of a dispute that is none of an inquiry its organisation is suspended."""
    known = book.paying.claims.get(claim.id)
    was_claimed = known is not None and known.status in _CLAIMED
    if known is None:
        known = book.paying.claims.add(claim)
    elif (known.told_s, _TURNS.get(known.status, 0)) < (claim.told_s, _TURNS.get(claim.status, 0)):
        known.cents, known.status, known.told_s = claim.cents, claim.status, claim.told_s
        book.paying.claims.touch(known)
    if claim.kind == ClaimKind.DISPUTE and known.status in _CLAIMED and not was_claimed:
        _suspend(book, topup.organization)


def _suspend(book: Book, organization: str) -> None:
    profile = book.profiles[organization]
    if profile.status == Status.SUSPENDED:
        return
    profile.status = Status.SUSPENDED
    profile.version += 1
    book.profiles.touch(profile)
    for account in book.belonging(organization):
        book.flag(account, limited=True)  # so that its calls look for it


def _book(book: Book, topup: Topup, said: Said) -> None:
    account = book.accounts[wallet_id(topup.organization)]
    why = Why(reason=said.reason)
    paid = (
        topup.status == TopupStatus.PAID and said.payment
    )  # without its name nobody has looked who booked it
    if paid and not topup.given_nano and not _given_by_hand(book, topup):
        _give(book, topup, account, said.reason)
    returned_nano = min(topup.given_nano, refunded_cents(book, topup) * CENT_NANO)
    disputed_nano = min(topup.given_nano - returned_nano, disputed_cents(book, topup) * CENT_NANO)
    # What is given back comes first: it may be what the other one takes.
    steps = [
        (Kind.DEPOSIT_RETURN, returned_nano - topup.returned_nano),
        (Kind.DISPUTE, disputed_nano - topup.disputed_nano),
    ]
    for kind, nano in sorted(steps, key=lambda step: step[1]):
        if nano:
            _take(book, topup, account, kind, nano, why=why)


def refunded_cents(book: Book, topup: Topup) -> int:
    """What refunds have taken of a payment: by the cumulative figure, and by the refunds that were told of one by one.

    Either may be behind the other, and is never ahead of the truth. Refunds that failed are in the cumulative figure.
    """
    refunds = [one for one in _claims(book, topup) if one.kind == ClaimKind.REFUND]
    undone = sum(one.cents for one in refunds if one.status in UNDONE)
    told = sum(one.cents for one in refunds if one.status not in UNDONE)
    return max(told, topup.refunded_cents - undone)


def disputed_cents(book: Book, topup: Topup) -> int:
    """What disputes have taken of a payment, those that are open or lost."""
    return sum(
        one.cents for one in _claims(book, topup) if one.kind == ClaimKind.DISPUTE and one.status in DISPUTED
    )


def _claims(book: Book, topup: Topup) -> list[Claim]:
    return [one for one in book.paying.claims.values() if one.topup == topup.id]


def _given_by_hand(book: Book, topup: Topup) -> bool:
    """Whether somebody has booked this very payment as a deposit before."""
    return any(one.kind == Kind.DEPOSIT and one.reference == topup.payment for one in book.credits.values())


def _give(book: Book, topup: Topup, account: Account, reason: str) -> None:
    posting.post(
        book,
        account.id,
        topup.amount_nano,
        kind=Kind.DEPOSIT,
        other=DEPOSITS,
        transfer=topup.id,
        why=Why(reason=reason, reference=topup.payment),
    )
    topup.given_nano = topup.amount_nano
    book.paying.topups.touch(topup)


def _take(book: Book, topup: Topup, account: Account, kind: str, nano: int, *, why: Why) -> None:
    """Takes what was paid out of a wallet, and what is not there any more as bad debt; below zero it gives it back."""
    disputes = kind == Kind.DISPUTE
    debt_nano = topup.disputed_debt_nano if disputes else topup.returned_debt_nano
    if nano > 0:
        free_nano = max(account.available_nano - account.lots_nano, 0)  # what was given is no part of it
        wallet_nano = min(nano, free_nano)
    else:
        wallet_nano = nano + min(-nano, debt_nano)  # the debt is made good first
    rest_nano = nano - wallet_nano
    topup.moves += 1
    if wallet_nano:
        book.move(
            wallet_nano,
            debit=account.id,
            credit=DEPOSITS,
            request_id=topup.id,
            kind=kind,
            attempt=topup.moves,
        )
        posting.note(
            book,
            account.id,
            -wallet_nano,
            id_=new_id("crd_"),
            kind=kind,
            why=why,
            transfer=topup.id,
            number=topup.moves,
        )
    book.move(
        rest_nano,
        debit=BAD_DEBT,
        credit=DEPOSITS,
        request_id=topup.id,
        kind=kind,
        attempt=topup.moves,
        line=1,
    )
    if rest_nano > 0:
        # Nobody collects it later, not even what calls in flight held of it and give back: that is an operator's to judge.
        _suspend(book, topup.organization)
    if disputes:
        topup.disputed_nano += nano
        topup.disputed_debt_nano += rest_nano
    else:
        topup.returned_nano += nano
        topup.returned_debt_nano += rest_nano
    book.paying.topups.touch(topup)
