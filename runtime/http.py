"""Owns HTTP/1.1 for a service that people reach and no SDK: uvicorn's protocol with bounds for heads, bodies, time and crowds.

The edge has a protocol of its own (`edge.http`), which knows keys and strangers. Here nobody is anybody before a request
is read, so there is one rule for all.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import httptools
from msgspec import Struct
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from runtime.settings.settings import SettingsError

TICK_S = 0.5
DATE_S = 1.0  # so old the date of an answer may be


class HttpLimits(Struct, frozen=True, kw_only=True):
    """The bounds of one server."""

    connections: int = 256
    backlog: int = 256
    head_bytes: int = 16 * 1024
    head_s: float = (
        10.0  # from a connection's first moment, or a request's first byte, to the end of its head
    )
    body_bytes: int = 64 * 1024
    body_s: float = 20.0
    keep_alive_s: int = 30
    stall_s: float = 60.0  # a reader who takes nothing for so long has left
    pipelined: int = 8  # requests sent ahead of their answers
    stop_s: int = 5  # for requests that are being answered


class _RefusedError(ValueError):
    """What a parser's callback raises: httptools turns it into an error of its own."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    limits: HttpLimits

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._refusal = 400
        self._deadline = 0.0  # loop time by which what is being received must be here; 0: nothing is
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_due = False  # of the newest request
        self._unread_bytes = 0
        self._unread_since = 0.0

    def sweep(self, now: float) -> None:
        """Ends the connection if it is overdue, or its reader takes nothing."""
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread_bytes:
            self._unread_bytes, self._unread_since = unread, now
        elif now - self._unread_since > self.limits.stall_s:
            self.transport.abort()
        if self._deadline and now >= self._deadline:
            self._deadline = 0.0
            self._refusal = 408
            self.send_400_response("")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrower than asyncio's, as uvicorn's is
        """Takes a connection, unless there are too many."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + self.limits.head_s
        if len(self.connections) > self.limits.connections:
            self._refusal = 503
            self.send_400_response("")

    def data_received(self, data: bytes) -> None:
        """Takes bytes; what offers another protocol is refused, since its body would be read as the next request."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= self.limits.pipelined:
            raise _RefusedError
        super().on_message_begin()
        self._head_bytes = self._body_bytes = 0
        self._deadline = self.loop.time() + self.limits.head_s

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._spend(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._spend(len(name) + len(value) + 4)
        super().on_header(name, value)
        if name.lower() == b"content-length" and (not value.isdigit() or int(value) > self.limits.body_bytes):
            self._refuse(413)

    def _spend(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.limits.head_bytes:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        self._refusal = status
        raise _RefusedError

    def on_headers_complete(self) -> None:
        """The head is here: HTTP/1.1 has exactly one Host."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 or self.parser.should_upgrade():
            raise _RefusedError
        self._deadline = self.loop.time() + self.limits.body_s
        self._body_due = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.body_bytes:
            self._refuse(413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is here."""
        self._deadline = 0.0
        self._body_due = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what never becomes a request, and ends the connection; never two answers to one request."""
        del msg
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answered = cycle is None or (cycle.response_complete and not self._body_due)
        if (answered or (self._body_due and not cycle.response_started)) and not self.pipeline:
            body = b'{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":null}}'
            said = body % _WORDS[self._refusal]
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n"
                b"connection: close\r\n\r\n%s" % (STATUS_LINE[self._refusal], len(said), said)
            )
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._deadline = 0.0
        self.transport.close()


_WORDS = {
    400: b"This is not a request of HTTP/1.1 that can be answered here.",
    408: b"The request did not come in time.",
    413: b"The request's body is too large.",
    431: b"The request's head is too large.",
    503: b"There are too many connections. Retry with backoff.",
}


class OwnServer(Server):
    """uvicorn's server in a process with signal handlers of its own, which tells it when to leave."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield

    async def main_loop(self) -> None:
        """Keeps the date of answers, until it is told to leave. uvicorn's own looks for that ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._leaving.wait()

    def leave(self) -> None:
        """Takes no more connections, and ends once those that there are have been answered."""
        self.should_exit = True
        self._leaving.set()


class HttpServer(OwnServer):
    """A server over a socket that is bound already."""

    def __init__(self, app: ASGIApp, limits: HttpLimits) -> None:
        super().__init__(
            Config(
                app,
                http=type("BoundedHttp", (BoundedHttp,), {"limits": limits}),
                ws="none",
                lifespan="off",
                loop="none",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=limits.backlog,
                timeout_keep_alive=limits.keep_alive_s,
                timeout_graceful_shutdown=limits.stop_s,
            )
        )

    async def run_until(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Serves until `stop` is set and what is being answered is done, or its time is over."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        sweeping = asyncio.create_task(self._sweep())
        stopping = asyncio.create_task(stop.wait())
        tasks = (serving, sweeping, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if sweeping.done():
                await sweeping  # it never ends by itself: this raises what ended it
            self.leave()
            await serving
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedHttp):
                    connection.sweep(loop.time())
            await asyncio.sleep(TICK_S)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address. Raises SettingsError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port."
        ) from None
    listener.setblocking(False)
    return listener
