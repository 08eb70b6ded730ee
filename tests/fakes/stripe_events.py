"""Owns events of Stripe for tests: recorded bodies, made to be of one payment, and signed by Stripe's own code."""

import json
from pathlib import Path
from typing import Any

from msgspec import Struct
from stripe import WebhookSignature

from schemas.verbs.topups import StripeEvent

SECRET = "whsec_tokn"
_FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "stripe"


class Paid(Struct, frozen=True):
    """One payment, by the ids that its events have."""

    topup: str
    session: str
    payment: str = "pi_3SYx0kLkdIwHu7ix1a2B3c4D"
    cents: int = 2_500

    def event(self, type_: str, *, of: dict[str, Any] | None = None, **fields: Any) -> bytes:
        """A recorded event of this payment. `fields` are its object's, `of` its own."""
        body = json.loads((_FOLDER / f"{type_}.json").read_text())
        told = body["data"]["object"]
        match told["object"]:
            case "checkout.session":
                paid = told["payment_intent"] and self.payment
                told |= {"id": self.session, "payment_intent": paid, "amount_total": self.cents}
                told |= {"client_reference_id": self.topup, "metadata": {"tokn_topup": self.topup}}
            case "charge":
                told |= {"payment_intent": self.payment, "amount": self.cents}
            case _:
                told |= {"payment_intent": self.payment}
        told |= fields
        return json.dumps(body | (of or {})).encode()


def signed(body: bytes, *, secret: str = SECRET, at_s: int | None = None) -> StripeEvent:
    """What a console passes on of an event."""
    header = WebhookSignature.generate_signature_header(body.decode(), secret, at_s)
    return StripeEvent(1, body, header)
