"""One exchange with a server that the configuration names: whatever that says, it ends in time, within its size, and goes nowhere else."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import pytest

from runtime.fetch import HEAD_BYTES_MAX, Fetched, FetchError, fetch
from tests.fakes.certificates import certificate

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Says some bytes to whoever asks, and keeps what was asked; one that `holds` does not close then."""

    def __init__(self) -> None:
        self.says = b""
        self.holds = False
        self.asked = b""
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.asked = await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(self.says)
            await writer.drain()
            if self.holds:
                await reader.read()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One that listens."""
    made = Server()
    async with await asyncio.start_server(made.answer, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


async def got(server: Server, *, timeout_s: float = 5.0, form: bytes | None = None) -> Fetched:
    """What a client of it gets."""
    url = f"http://127.0.0.1:{server.port}/a?b=c"
    return await fetch(url, bytes_max=10, timeout_s=timeout_s, headers={"X-Own": "1"}, form=form)


@pytest.mark.parametrize(
    ("says", "fetched"),
    [
        (OK + b"content-length: 2\r\n\r\nok", Fetched(200, b"ok")),
        (OK + b"transfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", Fetched(200, b"ok")),
        (b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"content-length: 0\r\n\r\n", Fetched(200, b"")),
        (b"HTTP/1.1 302 F\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", Fetched(302, b"")),
        (b"HTTP/1.1 500 E\r\ncontent-length: 1\r\n\r\nx", Fetched(500, b"x")),
    ],
)
async def test_an_answer_is_what_was_said(server: Server, says: bytes, fetched: Fetched) -> None:
    """Whole or in chunks, after an interim one, a redirect that is not followed: one that holds the line is not waited for."""
    server.says, server.holds = says, True
    assert await got(server) == fetched
    assert server.asked.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert b"X-Own: 1\r\n" in server.asked


@pytest.mark.parametrize(
    ("says", "holds", "why"),
    [
        (OK + b"content-length: 11\r\n\r\n" + b"x" * 11, False, "more than 10 bytes"),
        (OK + b"transfer-encoding: chunked\r\n\r\nb\r\n" + b"x" * 11, True, "more than 10 bytes"),
        (OK + b"content-length: 5\r\n\r\nok", False, "without a whole answer"),
        (OK + b"content-length: 5\r\n\r\nok", True, "within 0.2 s"),
        (b"", False, "without a whole answer"),
        (b"", True, "within 0.2 s"),
        (b"SSH-2.0-OpenSSH\r\n", True, "not answer as HTTP does"),
        (OK + b"x: y\r\n" * (HEAD_BYTES_MAX // 6 + 10), True, "head is too long"),
    ],
)
async def test_what_is_no_answer_is_an_error(server: Server, says: bytes, holds: bool, why: str) -> None:
    """Too long, too slow, cut, or something else: it is said in words, and nothing waits."""
    server.says, server.holds = says, holds
    with pytest.raises(FetchError, match=why):
        await got(server, timeout_s=0.2 if "within" in why else 5.0)


async def test_a_form_is_posted(server: Server) -> None:
    """With its type and its length."""
    server.says = OK + b"content-length: 0\r\n\r\n"
    await got(server, form=b"a=b")
    assert server.asked.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n" in server.asked


async def test_nothing_is_sent_in_the_clear() -> None:
    """Beyond this machine it is https or nothing."""
    with pytest.raises(FetchError, match="not https"):
        await fetch("http://192.0.2.1/", bytes_max=1, timeout_s=1)


async def test_a_port_that_refuses_is_an_error() -> None:
    """Without its address, which people who sign in have no use for."""
    with pytest.raises(FetchError, match="cannot be reached: ConnectionRefusedError"):
        await fetch("http://127.0.0.1:1/", bytes_max=1, timeout_s=5)


async def test_a_certificate_is_the_names(tmp_path) -> None:
    """One that nobody has signed, or for another name, ends it before anything is asked."""
    own, trusting = certificate(tmp_path, "localhost")
    made = Server()
    made.says = OK + b"content-length: 2\r\n\r\nok"
    async with await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=own) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"https://localhost:{port}/"
        assert (await fetch(url, bytes_max=2, timeout_s=5, tls=lambda: trusting)).body == b"ok"
        made.asked = b""
        for other, tls in ((f"https://127.0.0.1:{port}/", {"tls": lambda: trusting}), (url, {})):
            with pytest.raises(FetchError, match="SSLCertVerificationError"):
                await fetch(other, bytes_max=2, timeout_s=5, **tls)
        assert made.asked == b""
    gc.collect()  # asyncio's own writers over TLS warn if they go after their loop
