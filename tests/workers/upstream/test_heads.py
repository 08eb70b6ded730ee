"""Heads of answers that never end: interim answers and lines of headers are bounded, and the connection is let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workers.upstream.http import (
    HEADER_LINE_BYTES_MAX,
    HEADER_LINES_MAX,
    INTERIM_ANSWERS_MAX,
    HttpUpstream,
    UpstreamError,
    read_all,
)
from workers.upstream.request import UpstreamRequest

DEADLINE_S = 20.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
LINES = b"x: y\r\n" * (HEADER_LINES_MAX + 1)
FLOODS = {
    "a few too many": HINTS * (INTERIM_ANSWERS_MAX + 1) + OK,
    "lines": b"HTTP/1.1 200 OK\r\n" + LINES + b"\r\n",
    "lines of an interim answer": b"HTTP/1.1 103 Early Hints\r\n" + LINES + b"\r\n" + OK,
    "one long line": b"HTTP/1.1 200 OK\r\nx: " + b"y" * (HEADER_LINE_BYTES_MAX + 1) + b"\r\n\r\n",
    "one long name": b"HTTP/1.1 200 OK\r\n" + b"y" * (HEADER_LINE_BYTES_MAX + 1) + b": x\r\n\r\n",
    "a long reason": b"HTTP/1.1 200 " + b"y" * (HEADER_LINE_BYTES_MAX + 1) + b"\r\n\r\n",
}
TRAILERS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + LINES + b"\r\n"


class Server:
    """Writes the same bytes to whoever asks, once or for ever."""

    def __init__(self, data: bytes, *, endless: bool) -> None:
        self._data = data
        self._endless = endless
        self.left = asyncio.Event()
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the calls of one connection."""
        try:
            while True:
                await reader.readuntil(b"{}")
                writer.write(self._data)
                await writer.drain()
                while self._endless:
                    writer.write(self._data)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def served(data: bytes, *, endless: bool = False) -> AsyncIterator[tuple[HttpUpstream, Server]]:
    """A client, and a server that answers like that."""
    server, http = Server(data, endless=endless), HttpUpstream()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield http, server
    finally:
        await http.aclose()
        listening.close()
        await listening.wait_closed()


async def ask(http: HttpUpstream, server: Server) -> bytes:
    """The body of an answer."""
    request = UpstreamRequest("POST", f"{server.base}/x", {}, b"{}")
    async with asyncio.timeout(DEADLINE_S):
        return await read_all(await http.open(request), 100)


async def test_some_interim_answers_are_waited_through() -> None:
    """As many as are allowed before each answer of a connection."""
    async with served(HINTS * INTERIM_ANSWERS_MAX + OK) as (http, server):
        for _ in range(3):
            assert await ask(http, server) == b"ok"


@pytest.mark.parametrize("interim", [HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Wait\r\n\r\n"])
async def test_interim_answers_without_end(interim: bytes) -> None:
    """The call fails, as one that may have been served, and the server is hung up on."""
    async with served(interim * 100, endless=True) as (http, server):
        with pytest.raises(UpstreamError) as caught:
            await ask(http, server)
        assert caught.value.sent
        async with asyncio.timeout(DEADLINE_S):
            await server.left.wait()


@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
async def test_heads_that_are_too_large(data: bytes) -> None:
    """Too many lines or too long ones are no answer."""
    async with served(data) as (http, server):
        with pytest.raises(UpstreamError) as caught:
            await ask(http, server)
        assert caught.value.sent


async def test_too_many_lines_behind_a_body() -> None:
    """They end the answer as one that broke off."""
    async with served(TRAILERS) as (http, server):
        with pytest.raises(UpstreamError):
            await ask(http, server)


async def test_another_protocol_is_no_answer() -> None:
    """Nobody asked to switch: it is a status like any other, and nothing behind it is read."""
    async with served(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n" + OK
    ) as (http, server):
        answer = await http.open(UpstreamRequest("POST", f"{server.base}/x", {}, b"{}"))
        assert answer.status == 101
        answer.close()
