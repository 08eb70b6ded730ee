"""How an edge leaves: first it says that it is not ready and still takes connections, then it takes none."""

import asyncio
import contextlib
import time

import httpx
import msgspec
import pytest

from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until

DRAINS = msgspec.structs.replace(FAST, drain_s=600.0, head_s=60.0)  # longer than a busy machine takes
DRAINED = msgspec.structs.replace(FAST, drain_s=0.5, grace_s=60.0)


@pytest.mark.parametrize("rig", [DRAINS], indirect=True)
async def test_a_draining_edge_still_serves(rig: Rig) -> None:
    """While it drains, new connections and those kept alive are served once more each, and probes hear that it leaves."""
    go = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        if len(rig.worker.attempts) == 1:
            await go.wait()
        attempt.end()

    rig.worker.script = script
    async with contextlib.AsyncExitStack() as stack:
        kept = await stack.enter_async_context(httpx.AsyncClient(base_url=rig.url, timeout=60))
        assert "connection" not in (await kept.get("/healthz")).headers
        running = asyncio.create_task(rig.chat(stream=True))
        await until(lambda: rig.worker.attempts)
        rig.stop.set()
        await until(lambda: rig.edge.places.draining)
        for client in (
            kept,
            await stack.enter_async_context(httpx.AsyncClient(base_url=rig.url, timeout=60)),
        ):
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.headers["connection"]) == (503, "close")
            answer = await client.get("/healthz")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (await rig.chat(stream=True)).content.endswith(b"data: [DONE]\n\n")
        go.set()
        assert (await running).content.endswith(b"data: [DONE]\n\n")
        assert rig.running is not None
        rig.running.cancel()  # the rest of the drain
        with contextlib.suppress(asyncio.CancelledError):
            await rig.running
        rig.running = asyncio.create_task(asyncio.sleep(0))


@pytest.mark.parametrize("rig", [DRAINED], indirect=True)
async def test_a_call_outlasts_the_drain(rig: Rig) -> None:
    """No connection is taken after `drain_s`, and not before; a call that runs then has its grace, and ends as any other."""
    over = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await over.wait()
        attempt.end()

    rig.worker.script = script
    call = asyncio.create_task(rig.chat(stream=True))
    await until(lambda: rig.worker.attempts)
    began = time.monotonic()
    rig.stop.set()
    await until(lambda: not rig.edge.server.servers[0].is_serving())
    assert time.monotonic() - began >= DRAINED.drain_s
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=rig.url, timeout=60) as late:
            await late.get("/healthz")
    over.set()
    assert (await call).content.endswith(b"data: [DONE]\n\n")
    assert rig.running is not None
    await asyncio.wait_for(asyncio.shield(rig.running), 30)


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, keep_alive_s=0.3, head_s=60.0)], indirect=True)
async def test_an_idle_connection_is_closed_in_time(rig: Rig) -> None:
    """A connection rests for `keep_alive_s` after its answer, no shorter, and is closed then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    with contextlib.closing(writer):
        began = time.monotonic()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        assert time.monotonic() - began >= 0.3
