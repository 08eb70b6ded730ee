"""The HTTP client: exact bytes of paths, what a failure proves, and what it never does."""

import asyncio
import gzip
import socket
import zlib
from typing import Any

import pytest

from tests.fakes.openai import FakeOpenAI, Received, Reply
from tests.fakes.ports import free_port
from workers.upstream.http import ANSWER_BYTES_MAX, HttpUpstream, UpstreamError, read_all, read_some
from workers.upstream.inflate import PIECE_BYTES_MAX
from workers.upstream.request import UpstreamRequest


def request(base: str, path: str = "/x", body: bytes = b"{}") -> UpstreamRequest:
    return UpstreamRequest("POST", base + path, {"Authorization": "Bearer k"}, body)


@pytest.fixture
async def http() -> Any:
    """The client, closed afterwards."""
    upstream = HttpUpstream()
    yield upstream
    await upstream.aclose()


def root(fake: FakeOpenAI) -> str:
    return fake.base_url.removesuffix("/v1")


@pytest.mark.parametrize(
    "path",
    [
        "/model/amazon.titan-text-express-v1%3A0/invoke",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ax%2Fy%253A/converse",
        "/a//b/%7Ec/./d?alt=sse&q=%20+%2B:",
        "/v1/caf%C3%A9",
    ],
)
async def test_paths_arrive_as_they_were_signed(http: HttpUpstream, path: str) -> None:
    """The path on the wire is byte for byte the one that was given: nothing is decoded, encoded or folded."""
    async with FakeOpenAI(lambda _: Reply(pieces=[b"ok"], length=True), strict=False) as fake:
        answer = await http.open(request(root(fake), path))
        assert await read_all(answer, 10) == b"ok"
        assert fake.received[0].path == path


async def test_headers_on_the_wire(http: HttpUpstream, monkeypatch: Any) -> None:
    """No proxy from the environment, no cookies kept, no compression asked for, the caller's body length declared."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    made = Reply(pieces=[b"ok"], length=True, headers={"set-cookie": "a=b"})
    async with FakeOpenAI(lambda _: made, strict=False) as fake:
        for _ in range(2):
            await read_all(await http.open(request(root(fake))), 10)
        headers = fake.received[1].headers
        assert headers["accept-encoding"] == "identity"
        assert headers["content-length"] == "2"
        assert "cookie" not in headers
        assert headers["authorization"] == "Bearer k"
        assert fake.connections == 1


async def test_a_refused_connection_was_not_sent(http: HttpUpstream) -> None:
    """Nothing listens, no such host, no TLS: none of them can have reached a provider."""
    for base in (f"http://127.0.0.1:{free_port()}", "http://does-not-exist.invalid"):
        with pytest.raises(UpstreamError) as caught:
            await http.open(request(base))
        assert not caught.value.sent
    async with FakeOpenAI(strict=False) as fake:
        with pytest.raises(UpstreamError) as caught:
            await http.open(request(root(fake).replace("http:", "https:")))
        assert not caught.value.sent


@pytest.mark.parametrize("reused", [False, True])
async def test_a_hang_up_may_have_been_served(http: HttpUpstream, reused: bool) -> None:
    """A server that hangs up after the request, on a new or a reused connection, is never a safe connect error."""
    replies = [Reply(silent=True, cut=True)]
    if reused:
        replies.append(Reply(pieces=[b"ok"], length=True))

    def handler(_: Received) -> Reply:
        return replies.pop()

    async with FakeOpenAI(handler, strict=False) as fake:
        if reused:
            await read_all(await http.open(request(root(fake))), 10)
        with pytest.raises(UpstreamError) as caught:
            await http.open(request(root(fake)))
        assert caught.value.sent
        assert fake.connections == 1


async def test_bodies_cut_short(http: HttpUpstream) -> None:
    """A body that ends before its length, or its last chunk, is an error, never a shorter body."""
    for reply in (
        Reply(pieces=[b"abc"], length=True, promised=4, cut=True),
        Reply(pieces=[b"abc"], cut=True),
    ):
        async with FakeOpenAI(lambda _, reply=reply: reply, strict=False) as fake:
            with pytest.raises(UpstreamError):
                await read_all(await http.open(request(root(fake))), 100)


async def test_bounds(http: HttpUpstream) -> None:
    """A body beyond the bound is cut there; an error's body is read only so far; closing twice does no harm."""
    block = b"x" * 1_000_000
    async with FakeOpenAI(lambda _: Reply(pieces=[block] * 40), strict=False) as fake:
        answer = await http.open(request(root(fake)))
        with pytest.raises(UpstreamError):
            await read_all(answer, 5_000_000)
        answer.close()
        assert len(await read_some(await http.open(request(root(fake))), 1_000)) == 1_000
        await asyncio.wait_for(asyncio.gather(*(item.closed.wait() for item in fake.received)), 2)
    assert ANSWER_BYTES_MAX > 5_000_000


async def test_large_request_bodies(http: HttpUpstream) -> None:
    """A body of 32 MiB goes up whole, with its length."""
    body = b"x" * (32 * 1024 * 1024)
    async with FakeOpenAI(lambda _: Reply(pieces=[b"ok"], length=True), strict=False) as fake:
        await read_all(await http.open(request(root(fake), body=body)), 10)
        assert fake.received[0].body == body


async def test_header_flood(http: HttpUpstream) -> None:
    """Headers without end are refused, and memory stays bounded."""
    async with FakeOpenAI(lambda _: Reply(headers={"x": "y" * 1_000_000}), strict=False) as fake:
        with pytest.raises(UpstreamError) as caught:
            await http.open(request(root(fake)))
        assert caught.value.sent


async def test_a_silent_connection_is_kept_alive(http: HttpUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is probed long before a network on the way would forget it: an upstream may think for an hour."""
    made: list[socket.socket] = []
    connect = asyncio.get_running_loop().sock_connect

    async def watched(connecting: socket.socket, address: Any) -> None:
        made.append(connecting)
        await connect(connecting, address)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", watched)
    async with FakeOpenAI(lambda _: Reply(pieces=[b"ok"], length=True), strict=False) as fake:
        answer = await http.open(request(root(fake)))
        (only,) = made
        assert only.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert only.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
        assert await read_all(answer, 10) == b"ok"


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_answers_that_come_compressed(http: HttpUpstream, encoding: str, split: int) -> None:
    """A body that was compressed though nobody asked is read as what it was, in whatever pieces it comes."""
    text = b"any words " * 30
    packed = zlib.compress(text) if encoding == "deflate" else gzip.compress(text)
    made = Reply(pieces=[packed], headers={"content-encoding": encoding}, split=split)
    async with FakeOpenAI(lambda _: made, strict=False) as fake:
        assert await read_all(await http.open(request(root(fake))), 1_000) == text


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("padding", [b"", bytes(9)])
async def test_answers_packed_piece_by_piece(http: HttpUpstream, padding: bytes, split: int) -> None:
    """Each piece of a stream may be packed by itself: none is lost, and what is behind the last is no matter."""
    packed = b"".join(gzip.compress(piece) for piece in (b"one ", b"", b"two ", b"three"))
    made = Reply(pieces=[packed + padding], headers={"content-encoding": "gzip"}, split=split)
    async with FakeOpenAI(lambda _: made, strict=False) as fake:
        assert await read_all(await http.open(request(root(fake))), 1_000) == b"one two three"
    made = Reply(pieces=[packed[:-10]], headers={"content-encoding": "gzip"}, split=split)
    async with FakeOpenAI(lambda _: made, strict=False) as fake:
        with pytest.raises(UpstreamError):
            await read_all(await http.open(request(root(fake))), 1_000)


async def test_a_compressed_bomb_is_cut(http: HttpUpstream) -> None:
    """A body that unpacks to a thousand times itself is cut at the reader's bound, a bounded piece at a time."""
    packed = gzip.compress(bytes(50_000_000))
    made = Reply(pieces=[packed], headers={"content-encoding": "gzip"})
    async with FakeOpenAI(lambda _: made, strict=False) as fake:
        answer = await http.open(request(root(fake)))
        assert len(await answer.read()) <= PIECE_BYTES_MAX
        with pytest.raises(UpstreamError):
            await read_all(answer, 1_000_000)
        assert len(await read_some(await http.open(request(root(fake))), 1_000)) == 1_000


@pytest.mark.parametrize(
    "body",
    [b"nonsense", gzip.compress(b"x" * 100, mtime=0)[:-12], gzip.compress(b"x", mtime=0)[:5]],
    ids=["no gzip", "without its end", "without its content"],
)
async def test_compressed_nonsense(http: HttpUpstream, body: bytes) -> None:
    """A body that is not what its encoding says, or ends too soon, is an error; as an error's body it says nothing."""
    for status in (200, 429):
        made = Reply(status, [body], headers={"content-encoding": "gzip"})
        async with FakeOpenAI(lambda _, made=made: made, strict=False) as fake:
            answer = await http.open(request(root(fake)))
            assert answer.status == status
            with pytest.raises(UpstreamError):
                await read_all(answer, 1_000)
            assert len(await read_some(await http.open(request(root(fake))), 1_000)) < 200


async def test_an_encoding_that_is_not_known(http: HttpUpstream) -> None:
    """An answer that cannot be unpacked is no answer; an error keeps its status all the same."""
    for status in (200, 429):
        made = Reply(status, [b"?"], headers={"content-encoding": "br"})
        async with FakeOpenAI(lambda _, made=made: made, strict=False) as fake:
            if status == 200:
                with pytest.raises(UpstreamError):
                    await http.open(request(root(fake)))
            else:
                assert (await http.open(request(root(fake)))).status == 429
