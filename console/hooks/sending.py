"""Owns one POST to a receiver: to the very address that was looked at, under the name's own TLS, and little of its answer.

It is written over a bare connection, so that nothing is between: no proxy of the environment, no pool that might join two
names on one address, no redirect, nothing that unpacks what was said.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import httptools
from msgspec import Struct

from console.hooks.address import Target

TIMEOUT_S: Final = 15.0  # of all of it
RESPONSE_BYTES_MAX: Final = 1_024  # of the answer's body that are read
HEAD_BYTES_MAX: Final = 32 * 1024
_CHUNK_BYTES: Final = 4_096
USER_AGENT: Final = "tokn-webhooks"


class Answer(Struct, frozen=True):
    """What a receiver said; `code` is 0 if it said nothing that can be read, and `error` says why."""

    code: int = 0
    response: str = ""
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether it has taken the event."""
        return 200 <= self.code < 300


class _Reading:
    """What the parser of an answer tells."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.code = 0
        self.body = bytearray()
        self.retry_after = ""
        self.done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        code = self.parser.get_status_code()
        self.code = code if code >= 200 else 0

    def on_body(self, body: bytes) -> None:
        self.body += body[: RESPONSE_BYTES_MAX - len(self.body)]
        self.done = self.done or len(self.body) >= RESPONSE_BYTES_MAX

    def on_message_complete(self) -> None:
        self.done = self.done or self.code > 0


def retry_after_s(text: str, now_s: float) -> float:
    """What a header Retry-After asks for: seconds, or a date; 0 for what cannot be read."""
    if text.isascii() and text.strip().isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {
        "Host": target.authority,
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def post(
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """What a receiver says to a body. Never raises for what a receiver does."""
    reading = _Reading()
    error = ""
    try:
        async with asyncio.timeout(timeout_s):
            await _exchange(target, _request(target, headers, body), tls, reading)
    except TimeoutError:
        error = f"no whole answer within {timeout_s:g} s"
    except (OSError, httptools.HttpParserError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    if reading.code and not reading.done and error.startswith("no whole"):
        return Answer(error=error)  # whoever drips an answer has not given one
    if not reading.code:
        return Answer(error=error or "it closed the connection without an answer")
    text = bytes(reading.body).decode("utf-8", "replace")
    return Answer(reading.code, text, "", retry_after_s(reading.retry_after, time.time()))


async def _exchange(target: Target, request: bytes, tls: ssl.SSLContext, reading: _Reading) -> None:
    reader, writer = await _connected(target, tls)
    try:
        writer.write(request)
        await writer.drain()
        count_bytes = 0
        while not reading.done and count_bytes < HEAD_BYTES_MAX:
            data = await reader.read(_CHUNK_BYTES)
            if not data:
                return
            count_bytes += len(data)
            reading.parser.feed_data(data)
    finally:
        writer.transport.abort()  # a receiver that does not close would keep the connection


async def _connected(
    target: Target, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    problem: OSError | None = None
    for address in target.addresses:
        try:
            return await asyncio.open_connection(
                address,
                target.port,
                ssl=tls if target.secure else None,
                server_hostname=target.host if target.secure else None,
            )
        except OSError as error:
            problem = error
    raise problem or OSError("there is no address")
