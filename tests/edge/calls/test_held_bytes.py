"""What callers who read slowly hold in worker and edge together, and that nobody else waits for them."""

import asyncio
import json
import socket
import time

import msgspec
import pytest

from edge.http.connection import BoundedProtocol
from schemas.bus import subjects
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until
from workers.calls.frames import FrameWriter

SLOW = 20
UPSTREAM_BYTES = 128 * 1024  # what a worker has read of an upstream and not looked at
HELD_BYTES_MAX = 1024 * 1024
FAST_BYTES = 1_000_000  # of the fast reader's stream
PATIENT = msgspec.structs.replace(FAST, stall_s=60.0, overdue_s=30.0)


class Sender:
    """A worker's half of one stream: an upstream that never ends, read only while there is room for it."""

    def __init__(self, attempt: Attempt, piece: bytes) -> None:
        self.attempt = attempt
        self.piece = piece
        self.frames = FrameWriter(attempt.worker.bus, attempt.inbox, subjects.control(attempt.worker.id))
        self.sent = 0

    async def run(self, pieces: int) -> None:
        """Sends so many pieces, as credit allows."""
        self.frames.accept(self.attempt.worker.id)
        crediting = asyncio.create_task(self._credit())
        try:
            for _ in range(pieces):
                self.frames.data(self.piece)
                self.sent += 1
                while self.frames.full:
                    await self.frames.room()
            self.attempt.seq = self.sent
            self.attempt.end()
        finally:
            crediting.cancel()

    async def _credit(self) -> None:
        while True:
            if self.attempt.cancelled.is_set():
                self.frames.mute()
            elif self.attempt.credits:
                self.frames.credit(self.attempt.credits[-1])
            self.frames.tick(time.monotonic())
            await asyncio.sleep(0.005)


def request(rig: Rig) -> bytes:
    """A streamed call as bytes."""
    body = json.dumps(
        {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    )
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
    return (head % (rig.ledger.key, len(body), body)).encode()


def connections(rig: Rig) -> list[BoundedProtocol]:
    """The edge's connections that have bytes to send."""
    found = [one for one in rig.edge.server.server_state.connections if isinstance(one, BoundedProtocol)]
    return [one for one in found if one.transport.get_write_buffer_size()]


async def stuck(senders: list[Sender]) -> None:
    """Waits until no stream goes on: each window is full, and has been for a while in which much could have moved."""
    since, last = 0, -1
    while since < 40:
        sent = sum(sender.sent for sender in senders)
        full = all(sender.frames.full for sender in senders)
        since, last = (since + 1 if full and sent == last else 0), sent
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("piece", [event("x" * 2_000), event("x" * 262_000)], ids=len)
@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, accept_s=60.0)], indirect=True)
async def test_slow_readers_hold_little_and_delay_nobody(rig: Rig, piece: bytes) -> None:
    """Beside twenty callers who read nothing a fast one has its whole stream; each of them holds at most 1 MiB in all."""
    senders: list[Sender] = []

    async def script(attempt: Attempt) -> None:
        senders.append(Sender(attempt, piece))
        await senders[-1].run((20 if len(senders) <= SLOW else 1) * FAST_BYTES // len(piece))

    rig.worker.script = script
    slow = [socket.create_connection(("127.0.0.1", rig.edge.port)) for _ in range(SLOW)]
    try:
        for one in slow:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.send(request(rig))
        await until(lambda: len(senders) == SLOW)
        await stuck(senders)
        answer = await rig.chat(stream=True)
        assert answer.content.count(piece) == FAST_BYTES // len(piece)
        flows = [call.current.flow for call in rig.edge.relay._calls.values()]
        (system,) = {
            one.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            for one in connections(rig)
        }
        assert len(flows) == len(connections(rig)) == SLOW
        for _ in range(20):
            kept = max(sender.frames.kept_bytes for sender in senders)
            waiting = max(flow.waiting_bytes + flow._taken_bytes for flow in flows)
            # Of what an edge has taken of a call it keeps count until the socket has it.
            unsent = max(one.transport.get_write_buffer_size() for one in connections(rig))
            assert kept + max(waiting, unsent) + system + UPSTREAM_BYTES <= HELD_BYTES_MAX
            await asyncio.sleep(0.01)
    finally:
        for one in slow:
            one.close()
    await until(lambda: not len(rig.edge.relay))
