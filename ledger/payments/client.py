"""Owns the connection to Stripe by its own package, which nothing loads but a ledger that is configured for it."""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import stripe
from msgspec import Struct, ValidationError, convert

from ledger.payments.provider import ForgedError, OtherAskedError, Payment, ProviderAwayError
from ledger.payments.told import METADATA
from ledger.rules.topup_rows import Opened, Topup
from runtime.log import get_logger
from runtime.settings.stripe import StripeSettings
from schemas.verbs.topups import BACK_PATH, CENT_NANO

RETRIES: Final = 1  # of a request that Stripe has refused or cut off; its deadline is its asker's
IN_USE: Final = "idempotency_key_in_use"  # the same was asked a moment ago, and is not answered yet
TOLERANCE_S: Final = 300  # an event that was signed longer ago is no event of now
_T = TypeVar("_T")
_logger = get_logger("ledger.payments")


class _Session(Struct):
    id: str
    url: str
    livemode: bool
    amount_total: int
    currency: str


class _Intent(Struct):
    amount: int
    currency: str
    livemode: bool
    metadata: dict[str, str] = {}


class StripeClient:
    """One account at Stripe, over the loop that runs. `console_url` is where its payers come back to."""

    def __init__(self, settings: StripeSettings, console_url: str) -> None:
        self.live = settings.live
        self._secret = settings.webhook_secret
        self.console_url = console_url
        self._http = stripe.AIOHTTPClient(timeout=None)
        self._client = stripe.StripeClient(
            settings.api_key,
            http_client=self._http,
            max_network_retries=RETRIES,
            base_addresses={"api": settings.api_base},
        )

    async def open(self, topup: Topup) -> Opened:
        """A Checkout session of a top-up."""
        cents = topup.amount_nano // CENT_NANO
        made = await _asked(
            self._client.v1.checkout.sessions.create_async(
                self._session(topup, cents), {"idempotency_key": topup.id}
            )
        )
        session = _read(made, _Session)
        if (session.livemode, session.amount_total, session.currency) != (self.live, cents, topup.currency):
            _logger.error("Stripe made another session than was asked for", topup=topup.id)
            raise ProviderAwayError("it made another session than was asked for")
        return Opened(topup=topup.id, session=session.id, url=session.url, live=session.livemode)

    def _session(self, topup: Topup, cents: int) -> dict[str, Any]:
        back = {"organization": topup.organization, "topup": topup.id}
        return {
            "mode": "payment",
            "client_reference_id": topup.id,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": topup.currency,
                        "unit_amount": cents,
                        "product_data": {"name": f"Credit of {topup.organization}"},
                    },
                }
            ],
            # A charge, a refund or a dispute leads back to its top-up by this alone.
            "payment_intent_data": {"metadata": {METADATA: topup.id}},
            "metadata": {METADATA: topup.id},
            "adaptive_pricing": {"enabled": False},  # what is paid is what was asked for, in its currency
            "success_url": f"{self.console_url}{BACK_PATH}?{urlencode({**back, 'paid': '1'})}",
            "cancel_url": f"{self.console_url}{BACK_PATH}?{urlencode(back)}",
        }

    async def payment(self, id_: str) -> Payment | None:
        """A payment intent."""
        found = _read(await _asked(self._client.v1.payment_intents.retrieve_async(id_)), _Intent)
        topup = found.metadata.get(METADATA, "")
        if not topup:
            return None
        return Payment(topup=topup, cents=found.amount, currency=found.currency, live=found.livemode)

    def verify(self, body: bytes, signature: str) -> None:
        """By Stripe's own code, which raises TypeError for a signature that is not ASCII."""
        try:
            signature.encode("ascii")
            stripe.WebhookSignature.verify_header(body, signature, self._secret, TOLERANCE_S)
        except (stripe.SignatureVerificationError, UnicodeError):
            raise ForgedError("it is not signed by Stripe, or was longer ago than five minutes") from None

    async def close(self) -> None:
        """Leaves its connections."""
        await self._http.close_async()


async def _asked(asking: Awaitable[_T]) -> _T:
    try:
        return await asking
    except stripe.StripeError as error:
        # Its message may repeat parts of a key or of what was sent.
        told = {"kind": type(error).__name__, "status": error.http_status, "code": error.code}
        _logger.warning("Stripe did not do what it was asked", **told, stripe_request=error.request_id)
        if isinstance(error, stripe.IdempotencyError) and error.code != IN_USE:
            raise OtherAskedError("Stripe was asked for it in another way before") from None
        raise ProviderAwayError("Stripe did not do what it was asked: see the ledger's log") from None


def _read(found: Any, kind: type[_T]) -> _T:
    try:
        return convert(found.to_dict(recursive=True), kind)
    except ValidationError as error:
        _logger.error("Stripe's answer cannot be read", error=str(error))  # noqa: TRY400  the reason is all there is
        raise ProviderAwayError("Stripe's answer cannot be read") from None
