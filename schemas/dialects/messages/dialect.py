"""Owns the dialect of /v1/messages: Anthropic's."""

import time
from typing import Final

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.families import BEDROCK, PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat import priced as chat
from schemas.chat import refusals
from schemas.chat.request import ChatRequest
from schemas.dialects.base import Ending
from schemas.dialects.messages import errors, priced
from schemas.dialects.messages.native import check
from schemas.dialects.messages.request import MESSAGES
from schemas.dialects.messages.translate import translate
from schemas.dialects.rates import anthropic_headers
from schemas.errors import WireError, unsupported_value
from schemas.verbs.calls import Room

NATIVE: Final = "anthropic"


def is_native(model: Model) -> bool:
    """Whether a model's provider takes the dialect's bodies itself."""
    return model.family == NATIVE or (model.family == BEDROCK and model.capabilities.messages)


class Messages:
    """Anthropic's Messages."""

    name = MESSAGES
    path = "/v1/messages"
    id_headers: tuple[bytes, ...] = (b"request-id",)
    key_headers: tuple[bytes, ...] = (b"authorization", b"x-api-key")
    job_headers: tuple[str, ...] = ("anthropic-version", "anthropic-beta")
    families: frozenset[str] = frozenset((NATIVE, BEDROCK))
    sse = True
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    event_end = b"\n\n"

    def decode(self, body: bytes) -> Fields:
        """The fields of a body. Raises RequestError 400."""
        return chat.decode(body)

    def read(self, fields: Fields) -> Ask:
        """What is asked for. Raises RequestError 400."""
        return priced.read(fields)

    def bound(self, fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
        """What the call can cost. Raises RequestError 400."""
        return priced.bound(fields, ask, model, seen, native=is_native(model))

    def encode(self, fields: Fields) -> bytes:
        """The body that goes on: fields that are known, but the gateway's own."""
        return priced.encode(fields)

    def translate(self, model: Model, body: bytes, scope: str = "") -> ChatRequest:
        """The body as a chat request. Raises RequestError 400."""
        return translate(model, body, scope)[0]

    def refuse(self, model: Model, body: bytes) -> WireError | None:
        """The 400 for a body that a model cannot honour."""
        if (error := refusals.not_chat(model)) is not None:
            return error
        try:
            if is_native(model):
                check(model, body)
                return None
            request, origins = translate(model, body, "")
        except chat.RequestError as refused:
            return refused.error
        if model.family in PASS_THROUGH:
            error = _too_many_stops(model, request) or refusals.out_of_range(request)
        else:
            error = refusals.refuse_chat(model, request)
        return None if error is None else errors.in_callers_words(error, origins)

    def error_status(self, error: WireError) -> int:
        """529 for an upstream that is overloaded."""
        return errors.status_of(error)

    def rate_headers(self, room: Room) -> tuple[tuple[bytes, bytes], ...]:
        """Anthropic's names."""
        return anthropic_headers(room, time.time())

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """Anthropic's envelope."""
        return errors.body_of(error, request_id)

    def error_event(self, error: WireError, ending: Ending) -> bytes:
        """The envelope as an event of its own name: SDKs raise on no other."""
        return b"event: error\ndata: " + errors.body_of(error, ending.request_id) + b"\n\n"

    def end(self, ending: Ending) -> bytes:
        """Nothing: the stream's last event is the worker's."""
        del ending
        return b""


def _too_many_stops(model: Model, request: ChatRequest) -> WireError | None:
    """Callers of Anthropic's have more stop sequences than servers of OpenAI's protocol take."""
    most = model.capabilities.stop_max
    if len(request.stop or ()) <= most:
        return None
    text = f"stop_sequences: the model `{model.id}` takes at most {most} stop sequences."
    return unsupported_value("stop_sequences", text)


DIALECT = Messages()
