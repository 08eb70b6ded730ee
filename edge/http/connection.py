"""Owns HTTP/1.1 on a socket: uvicorn's httptools protocol with a budget for heads, deadlines, and errors of its own.

uvicorn has neither budget nor deadlines, and ASGI middleware cannot add them, since it runs after parsing. Deadlines
are plain numbers that one sweep a tick compares, so that a request costs no timer.
"""

import asyncio
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from edge import telemetry
from edge.http.cors import Cors
from edge.http.gate import Gate
from edge.http.heads import KEY_NAMES, TRACES, key_in, trace
from edge.http.link import TRACE, Link
from edge.http.places import Places
from edge.limits import Limits
from edge.watch import Watch
from runtime.peers import Trusted
from schemas.errors import INVALID_REQUEST, WireError, invalid, request_timeout

PIPELINED_MAX = 32  # requests sent ahead of their answers on one connection
STRANGERS_PIPELINED_MAX = 4  # of those without the form of a key
_OFFERS = frozenset((b"connection", b"upgrade", b"http2-settings"))
# Headers that are looked at as they come.
_NOTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", *KEY_NAMES, *TRACES))


class BoundedProtocol(Link):
    """One connection with its requests. The app reaches it through its scope."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._oversized = False
        self._known_key: tuple[bytes, bytes] | None = None  # the last header that has the form of a key
        # Of the request whose bytes come now:
        self._head_bytes = 0
        self._hosts = 0
        self._keyed = False
        self._body_bytes = 0  # as its head says; of a chunked one more than any may have
        self._unjudged = False  # its head is here, and perhaps its body comes with the same bytes

    def overdue(self) -> None:
        """Ends the connection; who sent a part of a request is told, but no stranger in a crowd."""
        cycle = self.cycle
        waits = (cycle.more_body and not cycle.response_started) if self.busy else self._head_bytes
        # Else an earlier request's answer is on its way.
        told = self._keyed or not self.places.crowded
        if waits and told and not self.pipeline and not self._lingers:
            self.refuse(request_timeout())
        self.transport.close()  # it sends nothing that could stand unread

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    # What the parser tells.

    def feed(self, data: bytes) -> None:
        """Takes bytes. A request that offers another protocol is read again without that offer, and served as it is.

        The parser would take such a request for one without a body, and its body for the next request.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                data = self._head_without_offer() + data[stop.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                break
            else:
                break
        if self._unjudged:
            self._judge()

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
        self._keyed = False
        self._body_bytes = 0
        self._deadline = self.loop.time() + self.limits.head_s

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._spend(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._spend(len(name) + len(value) + 4)
        name = name.lower()
        if name in _NOTED:
            self._note(name, value)
        self.headers.append((name, value))

    def _note(self, name: bytes, value: bytes) -> None:
        if name in KEY_NAMES:
            if self._keyed:
                return
            # The check costs more than all else here, and most requests on a connection have the same key.
            if (name, value) == self._known_key or isinstance(key_in(name, value), str):
                self._keyed, self._known_key = True, (name, value)
        elif name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._body_bytes = int(value) if value.isdigit() else 0
        elif name == b"transfer-encoding":
            self._body_bytes = self.limits.body_bytes + 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif (named := trace(name, value)) is not None:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # TRACE is a key of our own
            scope.setdefault(TRACE, {}).update((named,))

    def on_headers_complete(self) -> None:
        """The head is here: HTTP/1.1 has exactly one Host."""
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise ValueError("not exactly one Host header")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("not a proxy")
            return
        if not self._keyed and len(self.pipeline) >= STRANGERS_PIPELINED_MAX:
            raise ValueError("too many requests without a key sent ahead")
        self._head_bytes = 0
        if not self._keyed and not self.busy:
            path = self.url.partition(b"?")[0]
            refusal = self.gate.refusal(self.parser.get_method(), path, self.headers)
            if refusal is not None:
                route, error = refusal
                telemetry.count_request(route, error.status)
                self.refuse(error, route)
                raise ValueError("no key")  # the parser goes no further
        now = self.loop.time()
        self._deadline = now + self.limits.body_s
        self._asks_at = now + self.limits.slow_s if self._keyed and self._body_bytes else 0.0
        super().on_headers_complete()
        if self.places.draining:
            self.cycle.keep_alive = False
        self._unjudged = True  # most bodies come at once with their head: nothing of this is then for long

    def _judge(self) -> None:
        # Without the form of a key a request is answered from its head, and its body is thrown away as it comes.
        # With it a body that is large waits in the kernel until somebody here asks for it.
        self._unjudged = False
        if self._body_bytes:
            self.cycle.transport = self.late_transport()
            if self._keyed and self._body_bytes > self.limits.early_bytes:
                self.flow.pause_reading()
        if not self.pipeline:  # else its place is that of the request before it
            self._place()

    def _place(self) -> None:
        if not self._keyed:
            self.places.rest(self)
        elif self._body_bytes:
            self.places.receive(self)
        else:
            self.places.work(self)

    def on_body(self, body: bytes) -> None:
        """A piece of a body: nobody reads a stranger's."""
        if self._keyed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is here."""
        if self.parser.should_upgrade():
            return
        self._asks_at = 0.0
        cycle = self.cycle
        if cycle.response_complete:
            self._deadline = self.loop.time() + self.limits.keep_alive_s
            return
        self._deadline = 0.0
        whole, self._unjudged = self._unjudged, False
        if self._body_bytes and not whole:
            cycle.transport = self.transport
        if self._keyed:
            self.places.work(self)
        elif whole and not self.pipeline:
            self.places.rest(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is written: the next request's turn has come, or the connection rests."""
        if self._lingers or self.gone:
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            if cycle is self.cycle and cycle.more_body:
                self._place()
            self._start_asgi_task(cycle, app)
            return
        self.cycle.body = bytearray()  # what nobody has asked for
        self.places.rest(self)
        if not self._deadline:
            self._deadline = self.loop.time() + self.limits.keep_alive_s

    def _spend(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.limits.head_bytes:
            # What a callback raises, httptools turns into a parser error, and that ends in send_400_response.
            self._oversized = True
            raise ValueError("request head too large")

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, unless an answer is already on its way: never two answers to one request."""
        if self.gone or self._lingers:
            return
        if self.busy:
            self.transport.close()
            return
        if self._oversized:
            message = f"The request head is larger than {self.limits.head_bytes} bytes."
            self.refuse(WireError(431, INVALID_REQUEST, message))
        else:
            self.refuse(invalid(msg))

    def unframed(self, scope: Scope) -> RequestResponseCycle | None:
        """The answer to a request of HTTP/1.0, which knows no chunks: a stream of it ends with the connection."""
        if scope["http_version"] != "1.0" or self.cycle is None:
            return None
        return self.cycle if self.cycle.scope is scope else None


def bounded(
    *, limits: Limits, cors: Cors, places: Places, gate: Gate, trusted: Trusted, watch: Watch
) -> type[BoundedProtocol]:
    """The protocol class for one edge: uvicorn makes the instances itself."""
    shared = {
        "limits": limits,
        "cors": cors,
        "places": places,
        "gate": gate,
        "trusted": trusted,
        "watch": watch,
    }
    return type("BoundedProtocol", (BoundedProtocol,), shared)
