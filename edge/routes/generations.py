"""Owns the route of receipts."""

from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode
from schemas.chat.priced import RequestError
from schemas.errors import INVALID_REQUEST, WireError, bad_key, expired_key
from schemas.verbs.base import VERSION
from schemas.verbs.usage import GENERATION, GenerationQuery


async def generation(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/generations/{id}: the receipt of one of the key's own calls."""
    caller = backing.admission.caller(exchange)
    name = str(exchange.scope["path_params"]["id"])
    reply = await backing.ledger.ask(GENERATION, GenerationQuery(VERSION, caller.digest, name[:ID_CHARS_MAX]))
    if not reply.active:
        raise RequestError(expired_key(reply.expired_ms) if reply.expired_ms else bad_key())
    if reply.receipt is None:
        message = "This key has no call with that id. It is the x-request-id of the call's answer."
        raise RequestError(WireError(404, INVALID_REQUEST, message, "generation_not_found", "id"))
    await exchange.answer(200, encode(reply.receipt))


ROUTES = (Row(path="/v1/generations/{id}", name="generation", handler=generation),)
