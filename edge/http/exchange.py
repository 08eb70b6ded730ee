"""Owns one request and its answer over ASGI: the headers every answer carries, and errors in the caller's envelope."""

import time
from collections.abc import Sequence

from starlette.types import Message, Receive, Scope, Send

from edge.http.connection import BoundedProtocol
from edge.http.cors import Cors
from edge.http.link import CLIENT_REQUEST_ID, CONNECTION, TRACE
from edge.http.raw import VERSION_HEADER, new_request_id
from schemas.dialects.base import Envelope
from schemas.errors import WireError
from schemas.verbs.calls import Room

Headers = Sequence[tuple[bytes, bytes]]

NO_ORIGIN = Cors(())
_CLOSE = (b"connection", b"close")
_UNTRACED: dict[str, str] = {}
JSON = (b"content-type", b"application/json")
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class CallerGoneError(Exception):
    """The caller has hung up before its request was read."""


class Exchange:
    """One request of one caller. `status` is 0 until the answer's head has been sent."""

    __slots__ = (
        "_cors",
        "_envelope",
        "_receive",
        "_send",
        "_unframed",
        "connection",
        "extra",
        "headers",
        "key_id",
        "refused",
        "request_id",
        "room",
        "scope",
        "started",
        "status",
        "trace",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, envelope: Envelope, cors: Cors = NO_ORIGIN
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._envelope = envelope
        self.extra: Headers = ()  # further headers of a stream, until its head is sent
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.connection: BoundedProtocol = scope["extensions"][CONNECTION]
        self._cors = cors.headers(self.headers)
        self._unframed = self.connection.unframed(scope)
        self.request_id = new_request_id()
        self.key_id = ""  # of its caller, once a ledger has said it
        self.room: Room | None = None  # of a limited key, once a ledger has said it
        self.refused: WireError | None = (
            None  # the error that the caller was told, in an answer or in a stream
        )
        self.trace: dict[str, str] = scope.get(TRACE, _UNTRACED)  # what others call the request
        self.started = time.perf_counter()
        self.status = 0

    @property
    def method(self) -> str:
        """The request's method."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The request's path, decoded."""
        return str(self.scope["path"])

    def header(self, name: bytes) -> bytes | None:
        """A header's value, by its name in lower case; of several the first."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def receive(self) -> tuple[bytes, bool]:
        """A piece of the body, and whether more follows. Raises CallerGoneError."""
        message = await self._receive()
        if message["type"] != "http.request":
            raise CallerGoneError
        return message["body"], message["more_body"]

    async def answer(
        self, status: int, body: bytes, *headers: tuple[bytes, bytes], kind: tuple[bytes, bytes] = JSON
    ) -> None:
        """Sends a whole answer; head and body leave in one write."""
        await self._send(self._head(status, (kind, (b"content-length", b"%d" % len(body)), *headers)))
        await self._send({"type": "http.response.body", "body": body})

    async def answer_in_parts(
        self, parts: Sequence[bytes], *headers: tuple[bytes, bytes], kind: tuple[bytes, bytes] = JSON
    ) -> None:
        """Sends a whole 200 that is too large for one write, at the pace of its reader."""
        length = (b"content-length", b"%d" % sum(map(len, parts)))
        await self._send(self._head(200, (kind, length, *headers)))
        for number, part in enumerate(parts, 1):
            await self._send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    async def refuse(self, error: WireError, *headers: tuple[bytes, bytes]) -> None:
        """Answers with an error."""
        self.refused = error
        extra = list(headers)
        if error.retry_after_s is not None:
            # Whole seconds, rounded up: both SDKs read them. The exact delay stands beside it.
            extra.append((b"retry-after", b"%d" % max(-int(-error.retry_after_s // 1), 1)))
            extra.append((b"retry-after-ms", b"%d" % max(int(error.retry_after_s * 1000), 1)))
        if error.should_retry is not None:
            extra.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
        if error.status == 401:
            extra.append(_CLOSE)  # a stranger has one answer for each connection
        envelope = self._envelope
        body = envelope.error_body(error, self.request_id)
        await self.answer(envelope.error_status(error), body, *extra)

    # Streams are written from callbacks of the loop, without a task: see `edge.calls.answer`.

    @property
    def writable(self) -> bool:
        """Whether a piece of a stream can be sent now."""
        return self.connection.writable

    def write(self, data: bytes) -> None:
        """Sends a piece of a stream, its head first. Only while `writable`."""
        if not self.status:
            self._begin_stream()
        self._send_piece({"type": "http.response.body", "body": data, "more_body": True})

    def finish(self, data: bytes) -> None:
        """Sends a stream's last piece and its end. Only while `writable`."""
        if not self.status:
            self._begin_stream()
        self._send_piece({"type": "http.response.body", "body": data})

    def _begin_stream(self) -> None:
        if self._unframed is not None:
            self._unframed.chunked_encoding = False
        self._send_now(self._head(200, (*STREAM_HEADERS, *self.extra)))

    def _send_piece(self, message: Message) -> None:
        if self._unframed is not None:
            # uvicorn counts bytes against a length: each piece is all that it expects.
            self._unframed.expected_content_length = len(message["body"])
        self._send_now(message)

    def _send_now(self, message: Message) -> None:
        # A send waits only while the connection is not writable, so it can be run to its end right here.
        try:
            self._send(message).__await__().send(None)
        except StopIteration:
            return
        raise RuntimeError("a connection that is writable made a send wait")

    def _head(self, status: int, headers: Headers) -> Message:
        self.status = status
        elapsed_ms = int((time.perf_counter() - self.started) * 1000)
        own = (
            (b"x-request-id", self.request_id.encode()),
            (b"openai-processing-ms", b"%d" % elapsed_ms),
            VERSION_HEADER,
            *self._cors,
        )
        if name := self.trace.get("client_request_id"):
            own = (*own, (CLIENT_REQUEST_ID, name.encode()))
        if names := self._envelope.id_headers:
            own = (*own, *((name, self.request_id.encode()) for name in names))
        if self.room is not None:
            own = (*own, *self._envelope.rate_headers(self.room))
        return {"type": "http.response.start", "status": status, "headers": [*headers, *own]}
