"""Owns what Stripe's events say: the few types that the books want, by the few fields that they want of them."""

from typing import Final

import msgspec
from msgspec import Struct

from ledger.rules.topup_rows import Claim, ClaimKind, TopupStatus

PAID: Final = "paid"
METADATA: Final = "tokn_topup"  # where sessions and payments say what they are for
_STATUSES: Final = {
    "checkout.session.completed": TopupStatus.PROCESSING,
    "checkout.session.async_payment_succeeded": TopupStatus.PROCESSING,
    "checkout.session.async_payment_failed": TopupStatus.FAILED,
    "checkout.session.expired": TopupStatus.EXPIRED,
}
REFUNDED: Final = "charge.refunded"
REFUNDS: Final = ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
DISPUTES: Final = tuple(
    f"charge.dispute.{what}"
    for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)
TYPES: Final = (*_STATUSES, REFUNDED, *REFUNDS, *DISPUTES)  # what an endpoint at Stripe is to be sent


class _Data(Struct):
    object: msgspec.Raw


class Event(Struct):
    """An event, of whatever it is. `account` is another account of a platform, if it is of one."""

    id: str
    type: str
    livemode: bool
    created: int
    data: _Data
    account: str | None = None


class _Session(Struct):
    id: str
    mode: str
    payment_status: str
    amount_total: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class _Charge(Struct):
    currency: str
    amount_refunded: int
    payment_intent: str | None = None


class _Claim(Struct):
    id: str
    amount: int
    currency: str
    status: str | None = None
    payment_intent: str | None = None


class Fact(Struct, frozen=True, kw_only=True):
    """What one event says. It is about a session, or about a payment that belongs to one; `cents` None is not said.

    `topup` is what its session says to be for, "" where it is about none of ours.
    """

    session: str = ""
    topup: str = ""
    payment: str = ""
    currency: str
    cents: int | None = None
    status: str = ""
    refunded_cents: int = 0
    claim: Claim | None = None


decode_event = msgspec.json.Decoder(Event).decode
_session = msgspec.json.Decoder(_Session).decode
_charge = msgspec.json.Decoder(_Charge).decode
_claim = msgspec.json.Decoder(_Claim).decode


def fact_of(event: Event) -> Fact | None:
    """What an event says; None where it is about nothing that the books want. Raises msgspec.MsgspecError."""
    raw = event.data.object
    if event.type in _STATUSES:
        return _of_session(event.type, _session(raw))
    if event.type == REFUNDED:
        charge = _charge(raw)
        return _of_payment(
            Fact(
                payment=charge.payment_intent or "",
                currency=charge.currency,
                refunded_cents=charge.amount_refunded,
            )
        )
    if event.type in REFUNDS:
        return _of_payment(_claimed(event, ClaimKind.REFUND))
    if event.type in DISPUTES:
        return _of_payment(_claimed(event, ClaimKind.DISPUTE))
    return None


def _of_session(type_: str, session: _Session) -> Fact | None:
    if session.mode != "payment":
        return None
    status = _STATUSES[type_]
    if status == TopupStatus.PROCESSING and session.payment_status == PAID and session.payment_intent:
        status = TopupStatus.PAID
    return Fact(
        session=session.id,
        topup=(session.metadata or {}).get(METADATA, ""),
        payment=session.payment_intent or "",
        currency=session.currency or "",
        cents=session.amount_total or 0,
        status=status,
    )


def _claimed(event: Event, kind: str) -> Fact:
    claim = _claim(event.data.object)
    return Fact(
        payment=claim.payment_intent or "",
        currency=claim.currency,
        claim=Claim(
            id=claim.id,
            topup="",
            kind=kind,
            cents=claim.amount,
            status=claim.status or "",
            told_s=event.created,
        ),
    )


def _of_payment(fact: Fact) -> Fact | None:
    return fact if fact.payment else None
