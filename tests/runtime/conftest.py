"""Owns the bus fixtures: a real nats-server for a module, and connections that are closed after each test."""

import asyncio

import pytest
import uvloop

from runtime.bus.bus import Bus
from schemas.bus.subjects import Role
from tests.fakes.nats import NatsServer


def pytest_asyncio_loop_factories(config, item):
    """Both event loops: services run on uvloop, commands on asyncio's own."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="module")
def server():
    """A nats-server that runs for a module; tests that hurt it leave it running."""
    with NatsServer(signed=False) as running:
        yield running


@pytest.fixture
async def connect(server):
    """Opens connections by role; `closed` on the function counts connections that ended for good."""
    opened: list[Bus] = []

    async def open_one(role: Role) -> Bus:
        bus = await Bus.connect(
            server.settings(role), role, name="test", on_closed=lambda: open_one.closed.append(role)
        )
        opened.append(bus)
        return bus

    open_one.closed = []
    yield open_one
    for bus in opened:
        await bus.close()
