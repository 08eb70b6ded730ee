"""Raw HTTP: broken, huge, slow and silent clients get one clean answer or a closed connection, others are not harmed."""

import asyncio
import json
import random

import msgspec
import pytest

from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import until
from tests.fakes.ticks import Ticks

SHAPES = {
    "length and chunked": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "unknown coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd",
    "folded header": b"POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"POST / HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
    "bad chunk extension": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;\n\r\na\r\n0\r\n\r\n",
    "no host": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a header": b"POST / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "negative chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def say(rig: Rig, data: bytes, within_s: float = 5.0) -> bytes:
    """Everything that comes back for some bytes until the connection is closed or quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    got = b""
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(within_s):
            while piece := await reader.read(65536):
                got += piece
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    return got


def check_refused(answer: bytes) -> None:
    """A closed connection, or exactly one answer of 4xx in OpenAI's shape."""
    if not answer:
        return
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert 400 <= int(head[9:12]) < 500, head
    assert b"x-request-id: req_" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("name", SHAPES)
async def test_broken_requests(rig: Rig, name: str) -> None:
    """What is not clean HTTP/1.1 gets one 4xx in OpenAI's shape, or a closed connection."""
    check_refused(await say(rig, SHAPES[name]))


@pytest.mark.parametrize("mutations", [300, pytest.param(2_000, marks=pytest.mark.long)])
async def test_mutated_requests(rig: Rig, mutations: int) -> None:
    """No mutation of a broken request is answered twice, and none harms the edge."""
    rng = random.Random(mutations)
    for _ in range(mutations):
        data = bytearray(rng.choice(list(SHAPES.values())))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice(b"\r\n\x00 :;/abc019\xff")
        answer = await say(rig, bytes(data), 2.0)
        assert answer.count(b"HTTP/1.1 ") <= 1 + bytes(data).count(b"\n\n") + bytes(data).count(
            b"\r\n\r\n"
        ), data
        assert b" 500 " not in answer
    assert (await rig.chat()).status_code == 200


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"a" * 40_000, b"\r\n".join(b"X-%d: y" % number for number in range(5_000))],
    ids=["one", "many"],
)
async def test_large_head(rig: Rig, head: bytes) -> None:
    """A head beyond its budget is a 431, however it is cut into headers; a path as well."""
    for data in (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        answer = await say(rig, data)
        check_refused(answer)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_slow_clients_are_closed_in_time(rig: Rig) -> None:
    """Silence, half a head and half a body are closed by their deadlines; meanwhile others are served."""
    half = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A"
    auth = b"Authorization: Bearer %s\r\n" % rig.ledger.key.encode()
    body = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + auth + b"Content-Length: 1000\r\n\r\n{"
    waited = Ticks()
    connections = []
    for data in [b""] * 50 + [half] * 50 + [body] * 50:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
        writer.write(data)
        connections.append((data, reader, writer))
    answers = await asyncio.gather(*[rig.chat() for _ in range(20)])
    assert {answer.status_code for answer in answers} == {200}
    for data, reader, writer in connections:
        got = await asyncio.wait_for(reader.read(), 30)
        assert got.startswith(b"HTTP/1.1 408 ") if data else got == b""
        writer.close()
    assert waited.s < FAST.head_s + 2
    assert rig.edge.load.requests == 0
    assert rig.edge.budget.used == 0


async def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    """Requests sent ahead get one answer each, in their order."""
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    writer.write(one * 3 + last)
    got = await asyncio.wait_for(reader.read(), 5)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"404"]
    writer.close()


async def test_expect_continue_and_keep_alive(rig: Rig) -> None:
    """A client that waits for 100 gets it, and a connection serves one request after another."""
    body = json.dumps({"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n"
    )
    head = head % (rig.ledger.key.encode(), len(body))
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    for _ in range(3):
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 200 ")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, connections=5, requests=5)], indirect=True)
async def test_too_many_connections_and_requests(rig: Rig) -> None:
    """Beyond the bounds, connections and requests are refused with a 503 in OpenAI's shape, and room comes back.

    A connection gives way to a new one only while it has no request of a key.
    """
    held = [await asyncio.open_connection("127.0.0.1", rig.edge.port) for _ in range(5)]
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    for _, writer in held:
        writer.write(head + b"Authorization: Bearer %s\r\n\r\n{" % rig.ledger.key.encode())
    await until(lambda: rig.edge.places.working == 5)
    answer = await say(rig, b"")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"type":"service_unavailable_error"' in answer
    for _, writer in held:
        writer.close()
    for _ in range(100):
        if (await rig.http.get("/healthz")).status_code == 200:
            break
        await asyncio.sleep(0.02)
    rig.edge.load.requests += 5
    answer = await rig.http.get("/v1/models")
    assert answer.status_code == 503
    rig.edge.load.requests -= 5


async def test_request_ids_are_fresh(rig: Rig) -> None:
    """Every answer carries its own request id."""
    ids = {(await rig.chat()).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
