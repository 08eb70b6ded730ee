"""Owns the routes beside that of responses: what clients ask of a server that keeps them, and how long an input is."""

from edge.http.exchange import Exchange
from edge.routes.endpoint import GET, ID_CHARS_MAX, Backing, Row, encode
from schemas.asked import Fields
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError, candidates
from schemas.dialects.responses import DIALECT
from schemas.errors import INVALID_REQUEST, WireError, model_not_found, wrong_method
from schemas.responses.counting import likely_tokens

_WEBSOCKET = (
    b"sec-websocket-key"  # every handshake has it; the offer itself is taken off before a request is read
)
_UPGRADE = WireError(
    426,
    INVALID_REQUEST,
    "This gateway answers responses over HTTP alone, not over WebSockets: send them by POST.",
    "upgrade_required",
)
_COMPACT = WireError(
    404,
    INVALID_REQUEST,
    "Conversations are not compacted here. Codex asks for it where its provider's `name` is OpenAI: give the provider "
    "another name, and it compacts by a call of its own.",
    "unknown_url",
)


async def upgrade(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/responses: clients that would rather have a WebSocket go on over HTTP when they are told so at once."""
    del backing
    if exchange.header(_WEBSOCKET) is None:
        allowed = (b"allow", b"POST")
        await exchange.refuse(wrong_method(exchange.method, exchange.path[:ID_CHARS_MAX]), allowed)
        return
    await exchange.refuse(_UPGRADE, (b"upgrade", b"websocket"), (b"connection", b"close"))


async def absent(backing: Backing, exchange: Exchange) -> None:
    """Whatever is asked of a response that was made: none is kept."""
    await backing.admission.caller(exchange).verify()
    name = str(exchange.scope["path_params"]["id"])[:ID_CHARS_MAX]
    raise RequestError(WireError(404, INVALID_REQUEST, f"Response with id '{name}' not found."))


async def compact(backing: Backing, exchange: Exchange) -> None:
    """POST /v1/responses/compact."""
    await backing.admission.caller(exchange).verify()
    raise RequestError(_COMPACT)


async def input_tokens(backing: Backing, exchange: Exchange) -> None:
    """POST /v1/responses/input_tokens: an estimate, for nothing. The body is that of a response."""
    caller = backing.admission.caller(exchange)
    body = await backing.admission.body(exchange, caller)
    try:
        fields = await backing.admission.read(body, lambda: DIALECT.decode(body.data))
        (name, *_) = candidates(fields)
        await caller.verify()
        model = await backing.catalogue.find(name)
        if model is None:
            raise RequestError(model_not_found(name))
        count = await backing.admission.read(body, lambda: _likely_tokens(fields, model))
    finally:
        backing.budget.give_back(body.size)
    await exchange.answer(200, encode({"object": "response.input_tokens", "input_tokens": count}))


def _likely_tokens(fields: Fields, model: Model) -> int:
    return likely_tokens(DIALECT.translate(model, DIALECT.encode(fields)), model.upstream)


ROUTES = (
    Row(path="/v1/responses/input_tokens", name="input_tokens", methods=("POST",), handler=input_tokens),
    Row(path="/v1/responses/compact", name="compact", methods=("POST",), handler=compact, listed=False),
    *(
        Row(path=f"/v1/responses/{{id}}{of}", name="response", methods=methods, handler=absent, listed=False)
        for of, methods in (("", (*GET, "DELETE")), ("/cancel", ("POST",)), ("/input_items", GET))
    ),
)
