"""Owns one bounded exchange over HTTP with a server that the configuration names: a deadline, a size, no redirect.

It is written over a bare connection, so that nothing is between: no proxy of the environment, no cookie, nothing that
unpacks what was said. Services that speak to no upstream load no client of them for it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

from runtime.settings.oidc import is_secure

HEAD_BYTES_MAX: Final = 32 * 1024
_CHUNK_BYTES: Final = 16 * 1024
_USER_AGENT: Final = "tokn"
Tls = Callable[[], ssl.SSLContext]  # made by the first exchange that needs it: the authorities take megabytes
system_tls: Tls = cache(ssl.create_default_context)


class FetchError(Exception):
    """No whole answer came, and why."""


class Fetched(Struct, frozen=True):
    """What a server said."""

    status: int
    body: bytes


class _Reading:
    """What the parser of an answer tells."""

    def __init__(self, bytes_max: int) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.body = bytearray()
        self.done = False
        self._bytes_max = bytes_max

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self.status = status if status >= 200 else 0

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > self._bytes_max:
            raise FetchError(f"it answers more than {self._bytes_max} bytes")

    def on_message_complete(self) -> None:
        self.done = self.status > 0


async def fetch(
    url: str,
    *,
    bytes_max: int,
    timeout_s: float,
    tls: Tls = system_tls,
    headers: Mapping[str, str] | None = None,
    form: bytes | None = None,
) -> Fetched:
    """What a server answers to a GET, or to a POST of a form, of at most `bytes_max` bytes. Raises FetchError."""
    if not is_secure(url):
        raise FetchError("its address is not https")
    reading = _Reading(bytes_max)
    try:
        async with asyncio.timeout(timeout_s):
            await _exchange(url, _request(url, headers or {}, form), tls, reading)
    except TimeoutError:
        raise FetchError(f"no whole answer within {timeout_s:g} s") from None
    except httptools.HttpParserError as problem:
        if isinstance(problem.__context__, FetchError):
            raise problem.__context__ from None
        raise FetchError("it does not answer as HTTP does") from None
    except OSError as problem:
        raise FetchError(f"it cannot be reached: {type(problem).__name__}") from None
    if not reading.done:
        raise FetchError("it closed the connection without a whole answer")
    return Fetched(reading.status, bytes(reading.body))


def _request(url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
    parts = urlsplit(url)
    fields = {
        "Host": parts.netloc,
        "User-Agent": _USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    if form is not None:
        fields |= {
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(form)),
        }
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    method = "GET" if form is None else "POST"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (form or b"")


async def _exchange(url: str, request: bytes, tls: Tls, reading: _Reading) -> None:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    context = await asyncio.to_thread(tls) if secure else None
    reader, writer = await asyncio.open_connection(
        parts.hostname,
        parts.port or (443 if secure else 80),
        ssl=context,
        server_hostname=parts.hostname if secure else None,
    )
    try:
        writer.write(request)
        await writer.drain()
        head_bytes = 0
        while not reading.done:
            data = await reader.read(_CHUNK_BYTES)
            if not data:
                return
            head_bytes += 0 if reading.status else len(data)
            if head_bytes > HEAD_BYTES_MAX:
                raise FetchError("its head is too long")
            reading.parser.feed_data(data)
    finally:
        writer.transport.abort()  # a server that does not close would keep the connection
