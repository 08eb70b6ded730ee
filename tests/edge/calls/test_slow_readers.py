"""Callers who ask and do not read, or ask far ahead: their places and bytes come back, and others are served."""

import asyncio
import json
import socket

import msgspec
import pytest

from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until

IMPATIENT = msgspec.structs.replace(FAST, stall_s=0.5)
READ_BYTES_PER_S = 300_000  # of a slow reader


PACE_S = 0.01  # of one request more: who sends many ahead is refused before anything is stuck


def deaf(rig: Rig, data: bytes) -> socket.socket:
    """A connection that sends some bytes and never reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", rig.edge.port))
    connection.setblocking(False)
    connection.send(data)
    return connection


def chat(rig: Rig, **more: object) -> bytes:
    """A chat request as bytes."""
    body = json.dumps(
        {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], **more}
    ).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
    return head % (rig.ledger.key.encode(), len(body)) + body


@pytest.mark.parametrize("rig", [IMPATIENT], indirect=True)
async def test_an_answer_that_nobody_reads_is_dropped_in_time(rig: Rig) -> None:
    """A stream that has ended inside the gateway, and whose caller takes nothing, does not keep its place for ever."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for number in range(1, 200):
            attempt.data(event("x" * 250_000))
            try:
                await until(lambda: number - (attempt.credits or [0])[-1] <= 3, 0.3)  # noqa: B023  called before the loop goes on
            except TimeoutError:
                break
        attempt.end()

    rig.worker.script = script
    connection = deaf(rig, chat(rig, stream=True))
    await until(lambda: rig.edge.load.requests == 1)
    await until(lambda: rig.edge.load.requests == 0)
    assert rig.edge.budget.used == 0
    connection.close()


@pytest.mark.parametrize("rig", [IMPATIENT], indirect=True)
async def test_a_slow_reader_who_makes_progress_is_not_cut(rig: Rig) -> None:
    """A caller who takes a little at a time gets a stream that is far ahead of it to its end, however long a piece takes."""
    # Small buffers of the system, so that what is ahead waits in the edge.
    assert rig.edge._socket is not None
    rig.edge._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    word = event("x" * 250_000)

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for number in range(1, 7):
            attempt.data(word)
            await until(lambda: number - max(attempt.credits, default=0) <= 3, 30)  # noqa: B023  called before the loop goes on
        attempt.end()

    rig.worker.script = script
    connection = deaf(rig, chat(rig, stream=True))
    loop = asyncio.get_running_loop()
    began, size, end = loop.time(), 0, b""
    while data := await asyncio.wait_for(loop.sock_recv(connection, 16_384), 10):
        size += len(data)
        end = (end + data)[-64:]
        if b"[DONE]" in end:
            break
        await asyncio.sleep(max(0.0, size / READ_BYTES_PER_S - (loop.time() - began)))
    connection.close()
    assert b"[DONE]" in end
    assert size > 6 * len(word)
    assert len(word) / READ_BYTES_PER_S > IMPATIENT.stall_s, "one piece takes longer than a stall"


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, stall_s=3.0)], indirect=True)
async def test_requests_without_readers_give_their_places_back(rig: Rig) -> None:
    """Whoever sends requests without a key and never reads their answers holds no place for long."""
    # Small buffers of the system, so that all five are stuck before the first one's time is over.
    assert rig.edge._socket is not None
    rig.edge._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    one = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    # Connections inherit it. Else megabytes of answers fit into the system's buffers before anybody is stuck.
    rig.edge._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    deaf_ones = [deaf(rig, one) for _ in range(5)]

    async def more() -> None:
        while True:
            for connection in deaf_ones:
                try:
                    connection.send(one)
                except (BlockingIOError, ConnectionError):
                    continue
            await asyncio.sleep(PACE_S)

    asking = asyncio.create_task(more())
    try:
        await until(lambda: rig.edge.load.requests >= 5, 60)
        await until(lambda: not rig.edge.load.requests, 60)
        assert (await rig.chat()).status_code == 200
    finally:
        asking.cancel()
        for connection in deaf_ones:
            connection.close()


async def test_requests_sent_far_ahead_are_refused(rig: Rig) -> None:
    """Thousands of requests in one write are not all taken in while the first is answered."""
    release = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await release.wait()
        attempt.end(b"{}")

    rig.worker.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    writer.write(chat(rig))
    await until(lambda: rig.worker.attempts)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 5)
    release.set()
    writer.close()


async def test_half_a_request_sent_ahead_does_not_break_into_an_answer(rig: Rig) -> None:
    """A second request that never comes whole ends the connection, and writes nothing into the first one's answer."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for _ in range(30):
            attempt.data(event("word"))
            await asyncio.sleep(0.1)
        attempt.end()

    rig.worker.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    writer.write(chat(rig, stream=True))
    await until(lambda: rig.worker.attempts)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    got = await asyncio.wait_for(reader.read(), 10)
    assert got.count(b"HTTP/1.1 ") == 1
    assert b" 408 " not in got
    writer.close()
