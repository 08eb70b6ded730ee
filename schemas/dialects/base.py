"""Owns what a caller's protocol says of itself, so that one path of the edge serves them all.

A dialect is pure: it reads and writes bytes. It never authorises, bills or retries.
"""

from typing import Protocol

from msgspec import Struct

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.model import Model
from schemas.chat.request import ChatRequest, CompletionRequest
from schemas.errors import WireError
from schemas.verbs.calls import Room


class Ending(Struct, frozen=True):
    """What is known of a stream that the edge ends, for dialects whose last events name and number it."""

    request_id: str
    model: str  # as the caller wrote it
    events: int  # how many the caller has been sent, as the dialect counts them
    created_s: int = 0  # when the attempt was offered that has answered; unix time


class Envelope(Protocol):
    """What a protocol puts around every answer under its paths, those before any routing too."""

    id_headers: tuple[bytes, ...]  # where an answer names its request, beside `x-request-id`

    def error_status(self, error: WireError) -> int:
        """The HTTP status by which its clients know an error."""

    def rate_headers(self, room: Room) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer says of its key's limits a minute."""

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """An error as the whole answer."""


class Dialect(Envelope, Protocol):
    """One protocol. What raises, raises RequestError with the 4xx that the caller gets."""

    name: str  # in jobs, metrics and routes
    path: str
    key_headers: tuple[bytes, ...]  # where a key may stand, in lower case; the first with a key's form counts
    job_headers: tuple[str, ...]  # for later: the caller's that travel with the job, in lower case
    families: frozenset[str]  # those that speak it natively, where the model does
    sse: bool  # its streams are server-sent events; without, it has no streams
    ping: bytes  # what keeps a silent stream open
    event_end: bytes  # how every event ends

    def decode(self, body: bytes) -> Fields:
        """The fields of a body. Raises RequestError for what is no JSON object."""

    def read(self, fields: Fields) -> Ask:
        """What is asked for; what goes no further with any model is taken out of `fields`. Raises RequestError."""

    def bound(self, fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
        """What the call can cost with one model, in tokens. Raises RequestError for what cannot be bounded.

        It may name documents: with their pages `seen`, the bound is smaller.
        """

    def encode(self, fields: Fields) -> bytes:
        """The body that goes on, without what is private to the gateway."""

    def translate(self, model: Model, body: bytes, scope: str = "") -> ChatRequest | CompletionRequest:
        """An encoded body as a typed request, for a model whose family does not speak the dialect.

        `scope` is the key's, without which no sealed reasoning is opened. Raises RequestError.
        """

    def refuse(self, model: Model, body: bytes) -> WireError | None:
        """The 400 for an encoded body that a model cannot honour; None if it can, or if its provider judges."""

    def error_event(self, error: WireError, ending: Ending) -> bytes:
        """An error as the last events of a stream, before its end."""

    def end(self, ending: Ending) -> bytes:
        """The end of a stream, after a bill or an error."""
