"""Requests that offer another protocol: served as they are, and what follows them is never taken for a request."""

import asyncio

import pytest

from tests.edge.calls.test_slow_readers import chat
from tests.edge.conftest import Rig

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("apart", [False, True])
async def test_an_offer_is_declined(rig: Rig, offer: str, apart: bool) -> None:
    """Clients that offer HTTP/2 with their first request (as Java's does) get their answer over HTTP/1.1."""
    request = chat(rig).replace(b"Host: x\r\n", b"Host: x\r\n" + OFFERS[offer])
    head, _, body = request.partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    for _ in range(2):
        writer.write(head + b"\r\n\r\n")
        if apart:
            await asyncio.sleep(0.05)
        writer.write(body)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.close()


async def test_a_body_behind_an_offer_is_no_request(rig: Rig) -> None:
    """A body that looks like a request stays a body: one request, one answer."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    head = (
        b"POST /v1/nowhere HTTP/1.1\r\nHost: x\r\n"
        + OFFERS["h2c"]
        + b"Content-Length: %d\r\n\r\n" % len(inner)
    )
    writer.write(head)
    await asyncio.sleep(0.05)
    writer.write(inner + b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    got = await asyncio.wait_for(reader.read(), 5)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"404", b"404"]
    assert b"/last" in got
    writer.close()
