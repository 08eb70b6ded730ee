"""Owns HTTP/1.1 on a socket: uvicorn's httptools protocol with a budget for heads, deadlines, and errors of its own.

uvicorn has neither budget nor deadlines, and ASGI middleware cannot add them, since it runs after parsing. Deadlines
are plain numbers that one sweep a tick compares, so that a request costs no timer.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from edge.http.cors import Cors, Headers
from edge.limits import Limits
from schemas.bus.subjects import new_id
from schemas.dialects import envelope_at
from schemas.errors import INVALID_REQUEST, WireError, invalid, request_timeout, unavailable

CONNECTION = "tokn.connection"  # the ASGI extension under which a scope finds its connection
PIPELINED_MAX = 32  # requests sent ahead of their answers on one connection
_OFFERS = frozenset((b"connection", b"upgrade", b"http2-settings"))
VERSION_HEADER = (b"openai-version", b"2020-10-01")


def new_request_id() -> str:
    """An id for a request: its `x-request-id`, and its name in the books."""
    return new_id("req_")


def raw_response(error: WireError, headers: Headers = (), path: str = "") -> bytes:
    """A whole response for what never becomes a request. `path` is what is known of where it was meant for."""
    envelope, request_id = envelope_at(path), new_request_id()
    body = envelope.error_body(error, request_id)
    lines = [
        STATUS_LINE[envelope.error_status(error)],
        b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
        b"x-request-id: %s\r\n%s: %s\r\n" % (request_id.encode(), *VERSION_HEADER),
        *[b"%s: %s\r\n" % (name, request_id.encode()) for name in envelope.id_headers],
        *[b"%s: %s\r\n" % header for header in headers],
        b"connection: close\r\n\r\n",
        body,
    ]
    return b"".join(lines)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The app reaches it through its scope, to hear at once that the caller has hung up."""

    limits: Limits
    cors: Cors

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""  # uvicorn has none before the first request
        self._extensions = {CONNECTION: self}
        self._on_hangup: Callable[[], None] | None = None
        self._on_writable: Callable[[], None] | None = None
        self._head_bytes = 0
        self._hosts = 0
        self._deadline = 0.0  # loop time by which what is being received must be here; 0: nothing is
        self._oversized = False
        self._unread_bytes = 0  # written and not taken by the socket, at the last sweep
        self._unread_since = 0.0  # loop time since which that has not changed

    def on_hangup(self, callback: Callable[[], None] | None) -> None:
        """Calls `callback` once when the connection is lost; at once if it is already. None takes it back."""
        if callback is not None and self.gone:
            callback()
        else:
            self._on_hangup = callback

    @property
    def writable(self) -> bool:
        """Whether the socket takes more, or is gone and takes nothing: a send does not wait then."""
        return not self.flow.write_paused

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """Calls `callback` each time the connection becomes writable again. None takes it back."""
        self._on_writable = callback

    @property
    def gone(self) -> bool:
        """Whether the caller has hung up."""
        return self.transport.is_closing()

    def abort(self) -> None:
        """Drops the connection with what was not sent."""
        self.transport.abort()

    def sweep(self, now: float) -> None:
        """Ends the connection if what it receives is overdue, or its caller reads nothing."""
        self._sweep_unread(now)
        if not self._deadline or now < self._deadline or self.transport.is_closing():
            return
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        waits = (cycle.more_body and not cycle.response_started) if busy else self._head_bytes
        if waits and not self.pipeline:  # else an earlier request's answer is on its way
            self._answer(request_timeout())
        self.transport.close()

    def _sweep_unread(self, now: float) -> None:
        # A closing transport waits until its buffer is empty.
        # So a client that never reads would hold its answer and its place for ever.
        # What grows may be read as well; a buffer that is full grows no more, and shows whether it is.
        unread_bytes = self.transport.get_write_buffer_size()
        if not unread_bytes or unread_bytes != self._unread_bytes or not self._unread_since:
            self._unread_since = now
        elif now - self._unread_since > self.limits.stall_s:
            self.transport.abort()
        self._unread_bytes = unread_bytes

    # What the transport and the parser tell.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrower than asyncio's, as uvicorn's is
        """Takes a connection, or refuses it when there are too many."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + self.limits.head_s
        if len(self.connections) > self.limits.connections:
            self._answer(unavailable("The gateway has too many connections. Retry with backoff."))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the app, if it asked."""
        super().connection_lost(exc)
        hangup, self._on_hangup = self._on_hangup, None
        writable, self._on_writable = self._on_writable, None
        for callback in (hangup, writable):
            if callback is not None:
                callback()

    def resume_writing(self) -> None:
        """Tells the app, if it asked."""
        super().resume_writing()
        self._unread_since = self.loop.time()
        if self._on_writable is not None:
            self._on_writable()

    def data_received(self, data: bytes) -> None:
        """Takes bytes. A request that offers another protocol is read again without that offer, and served as it is.

        The parser would take such a request for one without a body, and its body for the next request.
        """
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                data = self._head_without_offer() + data[stop.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection" and b"close" in value.lower():
                lines.append(b"connection: close\r\n")
            elif name not in _OFFERS:
                lines.append(b"%s: %s\r\n" % (name, value))
        return b"".join((*lines, b"\r\n"))

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= PIPELINED_MAX:
            raise ValueError("too many requests sent ahead")
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]  # the value is this connection, not a dict
        self._head_bytes = 1
        self._hosts = 0
        self._deadline = self.loop.time() + self.limits.head_s

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._spend(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._spend(len(name) + len(value) + 4)
        if len(name) == 4 and name.lower() == b"host":
            self._hosts += 1
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here: HTTP/1.1 has exactly one Host."""
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise ValueError("not exactly one Host header")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("not a proxy")
            return
        self._head_bytes = 0
        self._deadline = self.loop.time() + self.limits.body_s
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is here."""
        if self.parser.should_upgrade():
            return
        self._deadline = 0.0
        super().on_message_complete()

    def _spend(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.limits.head_bytes:
            # What a callback raises, httptools turns into a parser error, and that ends in send_400_response.
            self._oversized = True
            raise ValueError("request head too large")

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, unless an answer is already on its way: never two answers to one request."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        if self._oversized:
            error = WireError(
                431, INVALID_REQUEST, f"The request head is larger than {self.limits.head_bytes} bytes."
            )
        else:
            error = invalid(msg)
        self._answer(error)
        self.transport.close()

    def _answer(self, error: WireError) -> None:
        heard = self.headers or ()  # uvicorn has none before the first request
        path = self.url.partition(b"?")[0].decode("latin-1")
        self.transport.write(raw_response(error, self.cors.headers(heard) or self.cors.unheard, path))

    def unframed(self, scope: Scope) -> RequestResponseCycle | None:
        """The answer to a request of HTTP/1.0, which knows no chunks: a stream of it ends with the connection."""
        if scope["http_version"] != "1.0":
            return None
        return self.cycle if self.cycle.scope is scope else None


def bounded(limits: Limits, cors: Cors) -> type[BoundedProtocol]:
    """The protocol class for one edge: uvicorn makes the instances itself."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "cors": cors})
