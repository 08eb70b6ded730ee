"""Owns the bytes between this process and nats-server: the parser of what arrives, and the socket that pushes it.

nats-py reads through a StreamReader and matches each message against seven regular expressions; here bytes go from the
event loop's callback straight through one parser to the subscription, without a task or a future between.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast
from urllib.parse import ParseResult

from runtime.lean import late, without

with without("aiohttp"), late("nats.js"):
    from nats.aio.transport import Transport

CONTROL_LINE_MAX = 64 * 1024  # INFO is the longest
WRITE_HIGH_WATER_BYTES = 256 * 1024
CLOSE_TIMEOUT_S = 1.0
_CRLF = b"\r\n"


class ProtocolError(Exception):
    """The server sent what is not its protocol."""


class Sink(Protocol):
    """What a parser feeds: messages one by one, and the rare control lines."""

    def on_message(self, sid: int, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        """One message; `headers` is the raw block, empty without one."""

    def on_control(self, line: bytes) -> None:
        """PING, PONG, +OK, -ERR or INFO, without the line's end."""


class Parser:
    """Cuts a byte stream into messages. Keeps at most one unfinished message."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = bytearray()
        self._needed = 0  # bytes that `_rest` must have before parsing again can get further

    def reset(self) -> None:
        """Forgets an unfinished message: the connection it came from is gone."""
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> None:
        """Takes bytes, cut anywhere. Raises ProtocolError."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest = bytearray()
        used = self._parse(data)
        if used < len(data):
            self._rest += data[used:] if used else data

    def _parse(self, data: bytes) -> int:
        """Bytes used up; sets `_needed` for the rest."""
        sink, size, at = self._sink, len(data), 0
        while at < size:
            eol = data.find(_CRLF, at)
            if eol < 0:
                if size - at > CONTROL_LINE_MAX:
                    raise ProtocolError("a control line without an end")
                self._needed = 0
                return at
            first = data[at]
            if first not in (77, 72):  # "M", "H"
                sink.on_control(data[at:eol])
                at = eol + 2
                continue
            words = data[at:eol].split()
            body = eol + 2
            # MSG subject sid [reply] size, HMSG subject sid [reply] header-size size
            fixed = 4 if first == 77 else 5
            try:
                end = body + int(words[-1])
                start = body if first == 77 else body + int(words[-2])
                reply = words[3] if len(words) > fixed else b""
                sid, subject = int(words[2]), words[1]
            except (ValueError, IndexError):
                raise ProtocolError("a malformed message line") from None
            if not (fixed <= len(words) <= fixed + 1 and body <= start <= end):
                raise ProtocolError("a malformed message line")
            if end + 2 > size:
                self._needed = end + 2 - at
                return at
            at = end + 2
            sink.on_message(sid, subject, reply, data[body:start], data[start:end])
        return size


class _Socket(asyncio.Protocol):
    """One TCP connection: buffers until somebody takes the bytes, then pushes them."""

    def __init__(self, on_writable: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.writable = True
        self._on_writable = on_writable
        self._push: Callable[[bytes], None] | None = None
        self._early = bytearray()
        self._more = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By what it is made of, not by its class: uvloop's transports do not inherit asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._push is not None:
            self._push(data)
            return
        self._early += data
        self._more.set()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        self._more.set()
        if not self.lost.done():
            self.lost.set_result(exc)

    async def line(self) -> bytes:
        """The next line before `push` is set; what there is at the end of the file."""
        while b"\n" not in self._early and not self.lost.done():
            if len(self._early) > CONTROL_LINE_MAX:
                raise ProtocolError("a control line without an end")
            self._more.clear()
            await self._more.wait()
        end = self._early.find(b"\n") + 1 or len(self._early)
        line = bytes(self._early[:end])
        del self._early[:end]
        return line

    def push_to(self, push: Callable[[bytes], None]) -> None:
        """From now on bytes go to `push`, those already here first."""
        self._push = push
        early, self._early = bytes(self._early), bytearray()
        if early:
            push(early)


class PushTransport(Transport):
    """nats-py's transport over `_Socket`. `read` is never used: `push_to` replaces it."""

    def __init__(self, on_writable: Callable[[], None]) -> None:
        self._on_writable = on_writable
        self._socket: _Socket | None = None

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """Opens a connection; one left over from a failed attempt is dropped."""
        del buffer_size
        self.abort()
        if uri.hostname is None or uri.port is None:
            raise ConnectionError("an address without a host or a port")
        host, port = uri.hostname, uri.port
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connect_timeout):
            _, self._socket = await loop.create_connection(lambda: _Socket(self._on_writable), host, port)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: float
    ) -> None:
        """Goes on under TLS."""
        del buffer_size
        socket = self._opened()
        assert socket.transport is not None  # noqa: S101  for mypy: _opened has looked
        name = uri if isinstance(uri, str) else uri.hostname
        async with asyncio.timeout(connect_timeout):
            upgraded = await asyncio.get_running_loop().start_tls(
                socket.transport, socket, ssl_context, server_hostname=name
            )
        assert upgraded is not None  # noqa: S101  for mypy: None is only for a transport that closes
        socket.connection_made(upgraded)

    def _opened(self) -> _Socket:
        if self._socket is None or self._socket.transport is None:
            raise ConnectionError("not connected")
        return self._socket

    def push_to(self, push: Callable[[bytes], None]) -> asyncio.Future[Exception | None]:
        """Sends arriving bytes to `push`; the future is done when the connection is lost."""
        socket = self._opened()
        socket.push_to(push)
        return socket.lost

    @property
    def writable(self) -> bool:
        """Whether the socket takes more without growing its buffer past the high-water mark."""
        return self._socket is not None and self._socket.writable

    def write(self, payload: bytes) -> None:
        """Gives bytes to the socket; dropped once the connection is lost."""
        socket = self._opened()
        if not socket.lost.done() and socket.transport is not None:
            socket.transport.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """As `write`, without joining first."""
        socket = self._opened()
        if not socket.lost.done() and socket.transport is not None:
            socket.transport.writelines(payload)

    async def read(self, buffer_size: int) -> bytes:
        """Never used."""
        raise NotImplementedError("bytes are pushed")

    async def readline(self) -> bytes:
        """One line of the greeting."""
        return await self._opened().line()

    async def drain(self) -> None:
        """Returns at once: what the socket does not take stays in the client's bounded buffer."""

    def close(self) -> None:
        """Closes; a peer that reads nothing any more cannot hold it up."""
        if self._socket is None or self._socket.transport is None:
            return
        if self._socket.transport.get_write_buffer_size():
            self._socket.transport.abort()
        else:
            self._socket.transport.close()

    def abort(self) -> None:
        """Drops the connection without waiting for anything."""
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.abort()
        self._socket = None

    async def wait_closed(self) -> None:
        """Waits for the end of the connection, and drops it after CLOSE_TIMEOUT_S."""
        if self._socket is None:
            return
        done, _ = await asyncio.wait([self._socket.lost], timeout=CLOSE_TIMEOUT_S)
        if not done:
            self.abort()

    def at_eof(self) -> bool:
        """Whether the connection is lost."""
        return self._socket is None or self._socket.lost.done()

    def __bool__(self) -> bool:
        # The library replaces a transport that is false by its own.
        return True
