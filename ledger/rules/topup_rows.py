"""Owns the rows of top-ups: each with what was asked for and what is booked, and what Stripe said of refunds and disputes."""

from typing import Any, ClassVar

from msgspec import Struct

from ledger.rules.rows import Row
from ledger.rules.rowset import RowSet


class TopupStatus:
    """How far a payment is. It only goes on in this order, and is never paid twice."""

    CREATED = "created"  # Stripe was not asked yet, or has not answered
    OPEN = "open"  # it can be paid
    PROCESSING = "processing"  # the payer is done, his bank is not
    EXPIRED = "expired"
    FAILED = "failed"
    PAID = "paid"


class Topup(Row, kw_only=True):
    """A payment into an organisation's wallet: the session at Stripe that was made for it, and what the books have of it.

    `payment` is the id of Stripe's payment, "" before it is known. `refunded_cents` is the largest cumulative figure
    of refunds that was told. `given_nano` is its deposit. `returned_nano` and `disputed_nano` are what refunds and
    disputes have taken of it until now; of these the parts in `_debt_nano` were not in the wallet any more.
    """

    TABLE: ClassVar[str] = "topups"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "session",
        "url",
        "live",
        "payment",
        "status",
        "refunded_cents",
        "given_nano",
        "returned_nano",
        "returned_debt_nano",
        "disputed_nano",
        "disputed_debt_nano",
        "moves",
    )

    id: str
    organization: str
    amount_nano: int
    currency: str
    created_ms: int
    session: str = ""
    url: str = ""
    live: bool = False
    payment: str = ""
    status: str = TopupStatus.CREATED
    refunded_cents: int = 0
    given_nano: int = 0
    returned_nano: int = 0
    returned_debt_nano: int = 0
    disputed_nano: int = 0
    disputed_debt_nano: int = 0
    moves: int = 0  # transfers of it have been numbered up to this


class Claim(Row, kw_only=True):
    """A refund or a dispute of a top-up's payment, by Stripe's id, as it was told last: at `told_s`, by Stripe's clock."""

    TABLE: ClassVar[str] = "topup_claims"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("cents", "status", "told_s")

    id: str
    topup: str
    kind: str
    cents: int
    status: str
    told_s: int


class ClaimKind:
    """What a claim is."""

    REFUND = "refund"
    DISPUTE = "dispute"


class Said(Struct, frozen=True, kw_only=True):
    """What one event of Stripe says of a top-up, as far as the books want it; `reason` names the event."""

    topup: str
    organization: str
    payment: str = ""
    status: str = ""
    refunded_cents: int = 0
    claim: Claim | None = None
    reason: str = ""


class Opened(Struct, frozen=True, kw_only=True):
    """What Stripe made for a top-up."""

    topup: str
    session: str
    url: str
    live: bool


class TopupRows:
    """A payment through Stripe with its refunds and disputes."""

    __slots__ = ("claims", "topups", "unpaid")

    def __init__(self) -> None:
        self.topups = RowSet(Topup)
        self.claims = RowSet(Claim)
        self.unpaid = 0  # lately made for the organisation of one that is about to be made

    def all(self) -> tuple[RowSet[Any], ...]:
        """Each kind's rows."""
        return self.topups, self.claims
