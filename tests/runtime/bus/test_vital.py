import asyncio

from nats.aio.client import Client

from runtime.bus.bus import Bus
from schemas.bus.subjects import Role
from tests.fakes.nats import NatsServer


async def test_a_reconnection_that_fails_ends_its_process(monkeypatch):
    """Nobody awaits the library's task: whatever ends it closes the connection for good, and its owner is told."""

    async def fail(_client):
        raise ValueError("not a server")

    told = asyncio.Event()
    with NatsServer() as server:
        bus = await Bus.connect(server.settings(), Role.EDGE, name="edge", on_closed=told.set)
        monkeypatch.setattr(Client, "_attempt_reconnect", fail)
        server.kill()
        await asyncio.wait_for(told.wait(), 30)
        await bus.close()
