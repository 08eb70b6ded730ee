"""Owns the forms of top-ups: what an organisation pays into its wallet through Stripe, and what Stripe tells of it."""

from typing import Final

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import Rows, Verb

CENT_NANO: Final = 10_000_000
LEAST_NANO: Final = 1_000_000_000  # 1 USD
MOST_NANO: Final = 10_000_000_000_000  # 10,000 USD
EVENT_BYTES_MAX: Final = 256 * 1024  # of an event of Stripe, far above any of those that are read here
SIGNATURE_CHARS_MAX: Final = 2_000
BACK_PATH: Final = "/topups/back"  # of a console, where Stripe sends a payer
STRIPE_S: Final = 20.0  # in which a ledger has asked Stripe, or given it up


class TopupCreate(Struct, frozen=True, array_like=True):
    """Has an address made at which somebody pays an amount into an organisation's wallet, in whole cents."""

    v: int
    organization: str
    amount_nano: int


class TopupRef(Struct, frozen=True, array_like=True):
    """Names a top-up."""

    v: int
    id: str


class StripeEvent(Struct, frozen=True, array_like=True):
    """What was sent to a console in Stripe's name, as it came. Whether it is Stripe's, a ledger finds out."""

    v: int
    body: bytes
    signature: str


# An act whose form is a TopupCreate, which is answered once Stripe was asked: a ledger does it beside its other requests.
TOPUP: Verb[ActRequest, Rows] = Verb(name="topup", form=ActRequest, reply=Rows, roles=(Role.COMMAND,))
STRIPE_EVENT: Verb[StripeEvent, Rows] = Verb(
    name="stripe_event", form=StripeEvent, reply=Rows, roles=(Role.CONSOLE,)
)
