"""Owns HTTP to providers: one client, bounded connections, exact request paths, and what a failure proves."""

import asyncio
import io
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

import yarl

from runtime.lean import uncertified, without
from workers.upstream.inflate import Inflated, InflateError, inflates
from workers.upstream.request import UpstreamRequest

with uncertified():  # calls go by a context of their own
    import aiohttp
    from aiohttp.client_proto import ResponseHandler

with without("pygments"):  # httpx probes for it, for a command line of its own, and loads rich with it
    import httpx

CONNECTIONS_MAX = 2048
INTERIM_ANSWERS_MAX = 16  # of 1xx, before the answer to one request
HEADER_LINES_MAX = 128  # of an answer's head, or of what stands behind its body
HEADER_LINE_BYTES_MAX = 8190
CONNECT_S = 10.0  # DNS, TCP and TLS together
KEEPALIVE_S = 15.0
# While an upstream says nothing: networks on the way forget a silent connection after minutes.
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
ERROR_BODY_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024  # a plain answer: above any audio or batch of choices
_READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading from the socket at twice this
_WHOLE_BYTES_MAX = 256 * 1024  # bodies up to this are written in one piece
# What happened before any byte was sent, and what may have happened at any time: a server that hangs up on a reused
# connection may have served the call.
_UNSENT = (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.InvalidURL)
_SWITCHES = 101  # to another protocol: the last answer on a connection, though it is below 200
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class UpstreamError(Exception):
    """A call without an answer. `sent` False proves that the provider cannot have served it."""

    def __init__(self, message: str, *, sent: bool, timeout: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.timeout = timeout


class UpstreamAnswer(Protocol):
    """The head of an answer, and its body as it comes."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The bytes that have come since the last read, at least one; b"" at the end. Raises UpstreamError."""
        ...

    def close(self) -> None:
        """Gives the connection back if the body was read to its end, else hangs up at once."""
        ...


class Upstream(Protocol):
    """Makes calls of providers."""

    async def open(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Sends a request and waits for the head of its answer. Raises UpstreamError."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


class HttpAnswer:
    """An answer over HTTP."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _told(response.raw_headers)
        self._response = response

    async def read(self) -> bytes:
        """The bytes that have come since the last read; b"" at the end. Raises UpstreamError."""
        try:
            return await self._response.content.readany()
        except _BROKEN as error:
            raise UpstreamError(type(error).__name__, sent=True) from error

    def close(self) -> None:
        """Gives the connection back if the body was read to its end, else hangs up at once."""
        self._response.close()


@lru_cache(maxsize=256)
def _lowered(name: bytes) -> str:
    return name.decode("ascii", "replace").lower()


def _told(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case. A name that comes twice has both values, as lists in headers are written."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = _lowered(name), value.decode("utf-8", "replace")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


class _UnpackedAnswer(Inflated):
    """An answer that came compressed. An error whose body cannot be read still has its status."""

    async def read(self) -> bytes:
        """The next unpacked bytes; b"" at the end. Raises UpstreamError."""
        try:
            return await super().read()
        except InflateError as error:
            raise UpstreamError(f"compressed answer: {error}", sent=True) from error


def _unpacked(answer: HttpAnswer, encoding: str) -> UpstreamAnswer:
    if inflates(encoding):
        return _UnpackedAnswer(answer)
    if 200 <= answer.status < 300:
        answer.close()
        raise UpstreamError("compressed answer", sent=True)
    return answer  # what it says cannot be read, but its status can


class _Handler(ResponseHandler):
    """One connection, on which a server may not send interim answers without end. Nobody waits for any of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._interim = 0

    def feed_data(
        self, data: tuple[aiohttp.http.RawResponseMessage, aiohttp.StreamReader], size: int = 0
    ) -> None:
        """Takes the head of an answer in; one of a lower status than 200 only counts."""
        if not 100 <= data[0].code < 200 or data[0].code == _SWITCHES:
            self._interim = 0
            super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim > INTERIM_ANSWERS_MAX and self.transport is not None:
            self.set_exception(aiohttp.ServerDisconnectedError("interim answers without end"))
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Connections with the handler above."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        made: partial[Any] = partial(_Handler, self._loop)
        self._factory = made  # there is no setting for it


class HttpUpstream:
    """The one HTTP client of a worker process: no proxies from the environment, no cookies, no redirects."""

    def __init__(self) -> None:
        connector = _Connector(
            limit=CONNECTIONS_MAX,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=60,
            ssl=httpx.create_ssl_context(),
            socket_factory=_socket,
        )
        # Each call has its own deadlines, which end its task.
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(connect=CONNECT_S, sock_connect=CONNECT_S),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADER_LINES_MAX,
            read_bufsize=_READ_BUFFER_BYTES,
            trust_env=False,
        )

    async def open(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Sends a request and waits for the head of its answer. Raises UpstreamError."""
        try:
            response = await self._session.request(
                request.method,
                _url(request.url),
                headers={"Accept-Encoding": "identity", "User-Agent": "tokn", **request.headers},
                data=_payload(request.body),
                allow_redirects=False,
            )
        except _UNSENT as error:
            timeout = isinstance(error, aiohttp.ConnectionTimeoutError)
            message = f"cannot connect: {type(error).__name__}"
            raise UpstreamError(message, sent=False, timeout=timeout) from error
        except _BROKEN as error:
            raise UpstreamError(f"no answer: {type(error).__name__}", sent=True) from error
        answer = HttpAnswer(response)
        encoding = answer.headers.get("content-encoding", "identity")
        return answer if encoding == "identity" else _unpacked(answer, encoding)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._session.close()


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, proto, _, _ = address
    made = socket.socket(family, kind, proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has them all
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _payload(content: bytes) -> bytes | io.BytesIO | None:
    # aiohttp wants large bodies as a file: it then writes them in pieces.
    if len(content) > _WHOLE_BYTES_MAX:
        return io.BytesIO(content)
    return content or None


@lru_cache(maxsize=256)
def _url(text: str) -> yarl.URL:
    """An address whose path goes out byte for byte, since that may be what was signed."""
    return yarl.URL(text, encoded=True)


async def read_all(answer: UpstreamAnswer, limit_bytes: int) -> bytes:
    """The whole body of an answer. Raises UpstreamError, hung up, if it is larger, or ends early."""
    pieces: list[bytes] = []
    size = 0
    whole = False
    try:
        while data := await answer.read():
            size += len(data)
            if size > limit_bytes:
                raise UpstreamError("answer too large", sent=True)
            pieces.append(data)
        whole = True
    finally:
        if not whole:
            answer.close()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_some(answer: UpstreamAnswer, limit_bytes: int) -> bytes:
    """The start of a body, for an error's message: never raises, never waits for more than it wants."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < limit_bytes and (data := await answer.read()):
            pieces.append(data)
            size += len(data)
    except UpstreamError:
        pass
    answer.close()
    return b"".join(pieces)[:limit_bytes]
