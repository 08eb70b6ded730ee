"""Owns the one route that is open to anybody: events of Stripe, passed on as they came to a ledger, which finds out whose they are."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from console import telemetry
from console.limits import Limits
from console.topups import PATIENCE
from runtime.bus.bus import BusError
from runtime.ledger import LedgerClient
from runtime.log import get_logger
from schemas.admin.reasons import STATUS, Reason, reason_of, sentence_of
from schemas.verbs.base import VERSION
from schemas.verbs.topups import (
    EVENT_BYTES_MAX,
    SIGNATURE_CHARS_MAX,
    STRIPE_EVENT,
    StripeEvent,
)

PATH: Final = "/stripe/events"
AGAIN_S: Final = "5"
_logger = get_logger("console.stripe")


class StripeEvents:
    """Takes events for one console, so many at once."""

    def __init__(self, ledger: LedgerClient, limits: Limits) -> None:
        self._ledger = ledger
        self._free = limits.stripe_events

    async def answer(self, request: Request) -> Response:
        """Answers one request. Whatever is not 200, Stripe sends again for days."""
        if request.method != "POST":
            return PlainTextResponse("only POST\n", 405, {"allow": "POST"})
        signature = request.headers.get("stripe-signature", "")
        length = request.headers.get("content-length", "")
        if not _is_signature(signature):
            return _refused(Reason.INVALID_SIGNATURE, "it has no signature of Stripe")
        if not length.isdecimal():
            return PlainTextResponse("An event has a Content-Length.\n", 411)
        if int(length[:12]) > EVENT_BYTES_MAX:
            return PlainTextResponse(f"An event has at most {EVENT_BYTES_MAX} bytes.\n", 413)
        if self._free <= 0:  # else bodies of any number of others wait here
            return _again("Too many events at once.")
        body = await request.body()
        if self._free <= 0:
            return _again("Too many events at once.")
        self._free -= 1
        try:
            return await self._taken(StripeEvent(VERSION, body, signature), request)
        finally:
            self._free += 1

    async def _taken(self, event: StripeEvent, request: Request) -> Response:
        try:
            answer = await self._ledger.ask(STRIPE_EVENT, event, patience=PATIENCE)
        except BusError as error:
            _logger.warning("no ledger took an event", request_id=request.state.request_id, error=str(error))
            return _again("No ledger answers.")
        reason = reason_of(answer)
        if reason is None:
            return PlainTextResponse("taken\n")
        if reason is Reason.INVALID_SIGNATURE:
            return _refused(reason, sentence_of(answer))
        _logger.warning("an event was not taken", request_id=request.state.request_id, reason=reason.value)
        return _again("It was not taken.")


def _is_signature(signature: str) -> bool:
    """Whether it has the form of one. Stripe's own code breaks on what is not ASCII."""
    return signature.startswith("t=") and signature.isascii() and len(signature) <= SIGNATURE_CHARS_MAX


def _refused(reason: Reason, why: str) -> Response:
    telemetry.REFUSED.add(("signature",))
    return PlainTextResponse(f"{why}\n", STATUS[reason])


def _again(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", 503, {"retry-after": AGAIN_S})
