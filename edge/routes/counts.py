"""Owns the route that counts a Messages request: an estimate, without a job, a hold or a bill."""

from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode
from schemas.chat import priced
from schemas.chat.priced import RequestError
from schemas.dialects.messages.counting import count
from schemas.dialects.messages.dialect import DIALECT
from schemas.dialects.messages.translate import decode
from schemas.errors import model_not_found


async def count_tokens(backing: Backing, exchange: Exchange) -> None:
    """POST /v1/messages/count_tokens: about how many tokens the same body of a call would have as its prompt."""
    caller = backing.admission.caller(exchange)
    body = await backing.admission.body(exchange, caller)
    try:
        await caller.verify()
        names = await backing.admission.read(body, lambda: priced.candidates(priced.decode(body.data)))
        (name, *_) = await backing.catalogue.expand(names)
        model = await backing.catalogue.find(name)
        if model is None:
            raise RequestError(model_not_found(name[:ID_CHARS_MAX]))
        upstream = model.upstream
        tokens = await backing.admission.read(body, lambda: count(decode(body.data), upstream))
    finally:
        backing.budget.give_back(body.size)
    await exchange.answer(200, encode({"input_tokens": tokens}))


ROUTES = (
    Row(
        path=f"{DIALECT.path}/count_tokens",
        name="count_tokens",
        methods=("POST",),
        handler=count_tokens,
        envelope=DIALECT,
    ),
)
