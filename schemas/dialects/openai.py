"""Owns what the two dialects of OpenAI's older routes share: keys, errors, pings, the end, and how a body is read."""

from msgspec import structs

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat import priced, refusals, strangers
from schemas.chat.forms import CHAT_FORMS, COMPLETION_FORMS
from schemas.chat.kinds import CHAT_KINDS, COMPLETION_KINDS, misfit
from schemas.chat.request import CHAT, ChatRequest, CompletionRequest
from schemas.chat.sieve import sifted
from schemas.dialects.base import Ending
from schemas.dialects.rates import openai_headers
from schemas.errors import WireError, invalid
from schemas.verbs.calls import Room

_DONE = b"data: [DONE]\n\n"


class OpenAI:
    """A dialect whose requests are those of `schemas.chat`."""

    id_headers: tuple[bytes, ...] = ()
    key_headers: tuple[bytes, ...] = (b"authorization", b"x-api-key")
    job_headers: tuple[str, ...] = ()
    families: frozenset[str] = PASS_THROUGH
    sse = True
    ping = b": ping\n\n"
    event_end = b"\n\n"

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self._kinds = CHAT_KINDS if name == CHAT else COMPLETION_KINDS
        self._forms = CHAT_FORMS if name == CHAT else COMPLETION_FORMS

    def decode(self, body: bytes) -> Fields:
        """The fields of a body. Raises RequestError 400."""
        return priced.decode(body)

    def read(self, fields: Fields) -> Ask:
        """What is asked for; what goes no further is taken out of `fields`. Raises RequestError 400."""
        dropped = sifted(fields, self._forms)
        ask = priced.read(fields, self.name)
        return structs.replace(ask, dropped=dropped) if dropped else ask

    def bound(self, fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
        """What the call can cost. Raises RequestError 400, for what would not be sent as well."""
        strangers.check(fields, model, self.name)
        if model.family in PASS_THROUGH and (found := misfit(fields, self._kinds)) is not None:
            name, wanted = found
            text = f"Invalid type for '{name}': expected {wanted}."
            raise priced.RequestError(invalid(text, param=name, code="invalid_type"))
        return priced.bound(fields, ask, model, seen)

    def encode(self, fields: Fields) -> bytes:
        """The body that goes on."""
        return priced.encode(fields)

    def translate(self, model: Model, body: bytes, scope: str = "") -> ChatRequest | CompletionRequest:
        """The body itself. Raises RequestError 400."""
        del model, scope
        request = refusals.read(self.name, body)
        if isinstance(request, WireError):
            raise priced.RequestError(request)
        return request

    def refuse(self, model: Model, body: bytes) -> WireError | None:
        """The 400 for a body that a model cannot honour."""
        return refusals.refuse(model, self.name, body)

    def error_status(self, error: WireError) -> int:
        """The table's own."""
        return error.status

    def rate_headers(self, room: Room) -> tuple[tuple[bytes, bytes], ...]:
        """OpenAI's names."""
        return openai_headers(room)

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """OpenAI's envelope, which does not name the request."""
        del request_id
        return error.body()

    def error_event(self, error: WireError, ending: Ending) -> bytes:
        """The envelope as one event: SDKs raise on it."""
        del ending
        return error.event()

    def end(self, ending: Ending) -> bytes:
        """`[DONE]`."""
        del ending
        return _DONE
