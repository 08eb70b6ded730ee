"""Owns HTTP to providers: one client, bounded connections, exact request paths, and what a failure proves."""

import io
import socket
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Protocol

import yarl

from runtime.lean import uncertified, without
from workers.upstream.inflate import Inflated, InflateError, inflates
from workers.upstream.request import UpstreamRequest

with uncertified():  # calls go by a context of their own
    import aiohttp

with without("pygments"):  # httpx probes for it, for a command line of its own, and loads rich with it
    import httpx

CONNECTIONS_MAX = 2048
CONNECT_S = 10.0  # DNS, TCP and TLS together
KEEPALIVE_S = 15.0
# While an upstream says nothing: networks on the way forget a silent connection after minutes.
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
ERROR_BODY_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024  # a plain answer: above any audio or batch of choices
_READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading from the socket at twice this
_WHOLE_BYTES_MAX = 256 * 1024  # bodies up to this are written in one piece
_TARGET = "target"


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


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise httpx.ReadError(type(error).__name__) from error

    def close(self) -> None:
        self._response.close()

    async def aclose(self) -> None:
        self.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx on aiohttp's connections (httpx's own collapse at 64 callers).

    It sends the path of `extensions["target"]` byte for byte, since that may be what was signed, and it reports as a
    connect error only what happened before any byte was sent: a server that hangs up on a reused connection may have
    served the call.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request; the answer's body is read as it comes, never decompressed."""
        target = request.extensions.get(_TARGET) or str(request.url)
        try:
            response = await self._session.request(
                request.method,
                yarl.URL(target, encoded=True),
                headers=request.headers.multi_items(),
                data=_payload(request.content),
                allow_redirects=False,
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout(type(error).__name__) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError(type(error).__name__) from error
        except aiohttp.InvalidURL as error:
            raise httpx.UnsupportedProtocol(type(error).__name__) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise httpx.ReadError(type(error).__name__) from error
        body = _Body(response)
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=body, extensions={"body": body}
        )

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._session.close()


class HttpAnswer:
    """An answer over HTTP."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._body: _Body = response.extensions["body"]

    async def read(self) -> bytes:
        """The bytes that have come since the last read; b"" at the end. Raises UpstreamError."""
        try:
            return await self._body.read()
        except httpx.HTTPError as error:
            raise UpstreamError(str(error), sent=True) from error

    def close(self) -> None:
        """Gives the connection back if the body was read to its end, else hangs up at once."""
        self._body.close()


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


class HttpUpstream:
    """The one HTTP client of a worker process: no proxies from the environment, no cookies, no redirects."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS_MAX,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=60,
            ssl=httpx.create_ssl_context(),
            socket_factory=_socket,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(connect=CONNECT_S, sock_connect=CONNECT_S),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            trust_env=False,
        )
        # The transport is used directly: a client adds redirects, cookies and auth flows, none of which may happen
        # here, for a quarter of a call's CPU. Each call has its own deadlines, which end its task.
        self._transport = AiohttpTransport(session)

    async def open(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Sends a request and waits for the head of its answer. Raises UpstreamError."""
        made = httpx.Request(
            request.method,
            _url(request.url),
            headers={"Accept-Encoding": "identity", "User-Agent": "tokn", **request.headers},
            content=request.body,
            extensions={_TARGET: request.url},
        )
        try:
            response = await self._transport.handle_async_request(made)
        except (
            httpx.ConnectTimeout,
            httpx.ConnectError,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
        ) as error:
            timeout = isinstance(error, httpx.ConnectTimeout)
            raise UpstreamError(f"cannot connect: {error}", sent=False, timeout=timeout) from error
        except httpx.HTTPError as error:
            raise UpstreamError(f"no answer: {error}", sent=True) from error
        answer = HttpAnswer(response)
        encoding = answer.headers.get("content-encoding", "identity")
        return answer if encoding == "identity" else _unpacked(answer, encoding)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()


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
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


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
