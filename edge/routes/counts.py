"""Owns the route that counts a Messages request: by an estimate or its provider's word, without a hold or a bill."""

from msgspec import Raw

from edge.admission.admission import Caller
from edge.http.exchange import Exchange
from edge.http.heading import job_headers
from edge.http.intake import Body
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode
from schemas.catalogue.model import NATIVE, Model
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
        tokens = await _native(backing, exchange, caller, body, model) if model.count == NATIVE else None
        if tokens is None:
            upstream = model.upstream
            tokens = await backing.admission.read(body, lambda: count(decode(body.data), upstream))
    finally:
        backing.budget.give_back(body.size)
    await exchange.answer(200, encode({"input_tokens": tokens}))


async def _native(
    backing: Backing, exchange: Exchange, caller: Caller, body: Body, model: Model
) -> int | None:
    """What the model's provider counts; None where it may not be asked, or does not say so in time."""
    if not await caller.may_use(model.provider) or not backing.roster.serves(model.pool, model.id):
        return None
    try:
        raw = await backing.admission.read(body, lambda: _as_call(body.data, model))
        headers = job_headers(exchange, DIALECT.job_headers)
    except RequestError:
        return None  # what could be no call is estimated all the same
    return await backing.relay.counts.ask(model, raw, await caller.scope(), headers)


def _as_call(data: bytes, model: Model) -> bytes:
    """The body as a call of the model would send it on. Raises RequestError for one that could be no call."""
    fields = priced.decode(data)
    fields["max_tokens"] = Raw(b"%d" % model.max_output)
    DIALECT.bound(fields, DIALECT.read(fields), model)
    raw = DIALECT.encode(fields)
    if (refused := DIALECT.refuse(model, raw)) is not None:
        raise RequestError(refused)
    return raw


ROUTES = (
    Row(
        path=f"{DIALECT.path}/count_tokens",
        name="count_tokens",
        methods=("POST",),
        handler=count_tokens,
        envelope=DIALECT,
    ),
)
