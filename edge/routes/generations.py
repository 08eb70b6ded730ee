"""Owns the route of receipts."""

import asyncio
from typing import Any, Final

from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode
from schemas.chat.priced import RequestError
from schemas.errors import INVALID_REQUEST, WireError, bad_key, expired_key
from schemas.verbs.base import VERSION
from schemas.verbs.usage import GENERATION, GenerationQuery, GenerationReply

RECEIPT_WAIT_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.025  # doubled each time


async def receipt_of(backing: Backing, query: GenerationQuery) -> GenerationReply:
    """A receipt. Who asks right after the answer is a little ahead of the books: while the call has no bill, it is waited for."""
    reply = await backing.ledger.ask(GENERATION, query)
    pause_s, left_s = FIRST_PAUSE_S, RECEIPT_WAIT_S
    while reply.running and left_s > 0:
        await asyncio.sleep(pause_s)
        left_s -= pause_s
        pause_s = min(2 * pause_s, left_s)
        reply = await backing.ledger.ask(GENERATION, query)
    return reply


async def generation(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/generations/{id}: the receipt of one of the key's own calls."""
    receipt = await found_receipt(backing, exchange, str(exchange.scope["path_params"]["id"]))
    await exchange.answer(200, encode(receipt))


async def found_receipt(backing: Backing, exchange: Exchange, name: str) -> dict[str, Any]:
    """A receipt of the caller's. Raises RequestError 401, 404."""
    caller = backing.admission.caller(exchange)
    reply = await receipt_of(backing, GenerationQuery(VERSION, caller.digest, name[:ID_CHARS_MAX]))
    if not reply.active:
        raise RequestError(expired_key(reply.expired_ms) if reply.expired_ms else bad_key())
    caller.lives()
    if reply.receipt is None:
        message = "This key has no call with that id. It is the x-request-id of the call's answer."
        raise RequestError(WireError(404, INVALID_REQUEST, message, "generation_not_found", "id"))
    return reply.receipt


ROUTES = (Row(path="/v1/generations/{id}", name="generation", handler=generation),)
