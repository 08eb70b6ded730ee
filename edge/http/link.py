"""Owns a connection's life: its place among the others, who is at its other end, how it is lost, and how it is ended.

Nothing of a lost connection is kept until a look for cycles: whatever points back at it is cut.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge import refusals
from edge.http.cors import Cors
from edge.http.gate import Gate
from edge.http.lingering import LINGER_BYTES_MAX, LINGER_S, Lingering
from edge.http.places import Company, Guest, Places
from edge.http.raw import new_request_id, raw_response
from edge.limits import Limits
from edge.watch import Watch
from runtime.peers import Preface, PrefaceError, Trusted, share_of
from schemas.errors import WireError, unavailable

CONNECTION = "tokn.connection"  # the ASGI extension under which a scope finds its connection
TRACE = "tokn.trace"  # the key under which a scope has what others call its request; only where they do
CLIENT_REQUEST_ID = b"x-client-request-id"


class Link(HttpToolsProtocol):
    """One connection, without its requests: `feed` takes their bytes."""

    limits: Limits
    cors: Cors
    places: Places
    trusted: Trusted
    gate: Gate
    watch: Watch

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""  # uvicorn has none before the first request
        self._extensions: dict[str, object] = {CONNECTION: self}
        self.company: Company | None = None
        self.line: dict[Guest, None] | None = None
        self._on_hangup: Callable[[], None] | None = None
        self._on_writable: Callable[[], None] | None = None
        self._deadline = 0.0  # loop time by which what is being received must be here; 0: nothing is
        self._asks_at = 0.0  # loop time when a body is slow, and its key is asked for before the rest; 0: not
        self._preface: Preface | None = None  # what a trusted proxy says first, until it is read
        self._served = False  # on a living key
        self._lingers = False  # answered and ended: what still comes is thrown away
        self._thrown_bytes = 0
        self._unread_bytes = 0  # written and not taken by the socket, at the last sweep
        self._unread_since = 0.0  # loop time since which that has not changed

    # What the app asks.

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
    def served(self) -> bool:
        """Whether a call was made on a living key from its address."""
        return self._served or share_of(self.client[0] if self.client else "") in self.places.served

    @property
    def gone(self) -> bool:
        """Whether the caller has hung up."""
        return self.transport.is_closing()

    def abort(self) -> None:
        """Drops the connection with what was not sent."""
        self.transport.abort()

    def known(self) -> None:
        """Keeps the connection's place: the key of its request lives. From now on it gives way last.

        Its address is let in first. A request that is refused with a 401 needs no word: it is the connection's last.
        """
        if not self._served:
            self._served = True
            self.places.trust(self)
            self.places.served.add(share_of(self.client[0] if self.client else ""))
        elif self.line is not None:
            self.places.work(self)

    # How it ends.

    def give_way(self) -> None:
        """Drops the connection for a new one's sake."""
        self.transport.abort()

    def linger(self) -> None:
        """Ends the connection once its caller has had time to read the answer."""
        if self.gone or self._lingers:
            return
        self._lingers = True
        self._deadline = self.loop.time() + LINGER_S
        self.transport.write_eof()
        self.flow.resume_reading()

    def refuse(self, error: WireError, route: str = "") -> None:
        """Answers what never becomes a request, or none of this route, and ends the connection."""
        request_id = new_request_id()
        heard = self.headers or ()  # uvicorn has none before the first request
        path = self.url.partition(b"?")[0].decode("latin-1")
        headers = self.cors.headers(heard) or self.cors.unheard
        scope: Any = self.scope  # None before the first request
        trace: dict[str, str] = scope.get(TRACE, {}) if scope is not None else {}
        if name := trace.get("client_request_id"):
            headers = (*headers, (CLIENT_REQUEST_ID, name.encode()))
        self.transport.write(raw_response(error, request_id, headers, path))
        client = self.client[0] if self.client else ""
        refusals.say(error, request_id=request_id, route=route, client=client, trace=trace)
        self.linger()

    def sweep(self, now: float) -> bool:
        """Ends the connection if it is overdue, or its caller reads nothing. Whether that was more than a look."""
        self._sweep_unread(now)
        # Nothing may lie unread: the app would take that for the whole reason that it is woken.
        asks = bool(self._asks_at) and now >= self._asks_at and not self.cycle.body
        if asks:
            self._asks_at = 0.0
            self.cycle.message_event.set()
        late = bool(self._deadline) and now >= self._deadline and not self.gone
        if late:
            self.overdue()
        return asks or late

    def overdue(self) -> None:
        """Its deadline has passed."""
        self.transport.abort()

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

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrower than asyncio's, as uvicorn's is
        """Takes a connection, or refuses it when there are too many."""
        self.watch.hear()
        super().connection_made(transport)
        self._deadline = self.loop.time() + self.limits.head_s
        host = self.client[0] if self.client else ""
        address = share_of(host)
        if host in self.trusted:
            self._preface = Preface()
            address = ""
        self._enter(self.places.enter(self, address))

    def _enter(self, taken: bool) -> None:
        if not taken:
            self.refuse(unavailable("The gateway has too many connections. Retry with backoff."))
            self.transport.close()  # it has no place to linger in

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of everything, and tells the app, if it asked."""
        self.places.leave(self)
        self._deadline = self._asks_at = 0.0  # a sweep that is under way may still come to it
        super().connection_lost(exc)
        self.pipeline.clear()
        if self.cycle is not None:
            self.cycle.body = bytearray()  # its task may wait for a ledger meanwhile
        self.cycle = None  # type: ignore[assignment]  # as before the first request
        self.scope = None  # type: ignore[assignment]  # as before the first request
        self.headers = []
        self._extensions = {}
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
        """Takes bytes."""
        self.watch.hear()
        if self._preface is not None:
            data = self._after(self._preface, data)
        if self._lingers:
            self._thrown_bytes += len(data)
            if self._thrown_bytes > LINGER_BYTES_MAX:
                self.transport.abort()
        elif data:
            self.feed(data)

    def feed(self, data: bytes) -> None:
        """Takes bytes of requests."""
        raise NotImplementedError

    def _after(self, preface: Preface, data: bytes) -> bytes:
        try:
            said = preface.feed(data)
        except PrefaceError:
            self.places.tell("preface")
            self.transport.abort()
            return b""
        if said is None:
            return b""
        self._preface = None
        address, data = said
        if address is not None:
            self.client = address
            self._enter(self.places.name(self, share_of(address[0])))
        return b"" if self.gone else data

    def late_transport(self) -> Lingering:
        """The transport for an answer that may be given before its request's body is here."""
        return Lingering(self.transport, self.linger)
