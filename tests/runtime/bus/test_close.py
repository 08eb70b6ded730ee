"""A connection that is closed stays closed, whatever it was at."""

import asyncio

from runtime.bus.bus import Bus
from runtime.bus.wire import PushTransport
from schemas.bus.subjects import Role


async def test_closing_ends_a_reconnection(server, connect, monkeypatch) -> None:
    """Closed in the very moment in which a reconnection reads the server's greeting: nothing goes on, nothing stays open."""
    bus: Bus = await connect(Role.EDGE)
    closing: list[asyncio.Task[None]] = []
    real = PushTransport.readline

    async def readline(transport: PushTransport) -> bytes:
        line = await real(transport)
        if not closing:
            # Begins before whoever waits for the line is told of it: asyncio.wait_for then swallows the cancel.
            closing.append(asyncio.create_task(bus.close()))
        return line

    monkeypatch.setattr(PushTransport, "readline", readline)
    await asyncio.to_thread(server.restart)
    async with asyncio.timeout(10):
        while not closing:
            await asyncio.sleep(0.01)
        await closing[0]
    task = bus.client._reconnection_task
    assert task is not None
    assert task.done()
    transport = bus.client._transport
    assert isinstance(transport, PushTransport)
    assert transport.at_eof()
