"""Starting and stopping an edge."""

import asyncio
import socket
import time

import httpx
import pytest

from edge.app import Edge, serve
from edge.limits import LIMITS, Limits
from runtime.settings.edge import ConnectionSettings
from runtime.settings.settings import CallSettings, Settings, SettingsError
from schemas.bus.subjects import Role
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until
from tests.fakes.nats import NatsServer
from tests.fakes.ticks import Ticks


async def test_port_in_use_is_a_settings_error(nats: NatsServer) -> None:
    """A port in use is one clear line that names host and port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
            await serve(Settings(nats=nats.settings(Role.EDGE), port=port), asyncio.Event())


async def test_idle_stop_is_quick(nats: NatsServer) -> None:
    """An idle edge stops well under five seconds, idle connections included."""
    edge = Edge(Settings(nats=nats.settings(Role.EDGE), port=0), LIMITS)
    await edge.open()
    stop = asyncio.Event()
    running = asyncio.create_task(edge.run(stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}", timeout=60) as client:
        assert (await client.get("/healthz")).status_code == 200
        waited = Ticks()
        stop.set()
        await asyncio.wait_for(running, 30)
        assert waited.s < 2
    await edge.close()


async def test_an_edge_follows_the_figures_of_its_configuration(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long calls may take, how long they wait for room, and how long a stop waits for them come from the settings."""
    made: list[Limits] = []

    class Watched(Edge):
        def __init__(self, settings: Settings, limits: Limits) -> None:
            made.append(limits)
            super().__init__(settings, limits)

    monkeypatch.setattr("edge.app.Edge", Watched)
    stop = asyncio.Event()
    stop.set()
    calls = CallSettings(idle_s=1, total_s=33, grace_s=4)
    rests = ConnectionSettings(drain_s=0.01, keep_alive_s=620)
    settings = Settings(
        nats=nats.settings(Role.EDGE), port=0, calls=calls, connections=rests, full_wait_s=1.5
    )
    await serve(settings, stop)
    (limits,) = made
    assert (limits.call_s, limits.grace_s, limits.full_wait_s) == (33, 4, 1.5)
    assert (limits.drain_s, limits.keep_alive_s) == (0.01, 620)


async def test_stop_finishes_calls(rig: Rig) -> None:
    """A call in flight is finished; nothing new is accepted meanwhile."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await asyncio.sleep(0.8)
        attempt.data(event("b"))
        attempt.end()

    rig.worker.script = script
    call = asyncio.create_task(rig.chat(stream=True))
    await until(lambda: rig.worker.attempts)
    rig.stop.set()
    await until(lambda: rig.edge.load.stopping)
    await asyncio.sleep(0.3)
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=rig.url, timeout=60) as late:
            await late.get("/healthz")
    answer = await call
    assert answer.content.endswith(event("b") + b"data: [DONE]\n\n")


async def test_stop_ends_calls_after_the_grace_period(rig: Rig) -> None:
    """A call that outlasts the grace period ends with an error event, its worker is told, and the stop completes."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await attempt.cancelled.wait()

    rig.worker.script = script
    call = asyncio.create_task(rig.chat(stream=True))
    await until(lambda: rig.worker.attempts)
    started, waited = time.monotonic(), Ticks()
    rig.stop.set()
    answer = await call
    assert time.monotonic() - started >= FAST.grace_s
    assert waited.s < FAST.grace_s + 2
    assert b'"type":"service_unavailable_error"' in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)
