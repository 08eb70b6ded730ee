"""Strangers in numbers, over the whole path: whatever they do, who pays is served, and nothing of them stays."""

import asyncio
import json
import math
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec import Struct, field

from tests.fakes import strangers
from tests.fakes.caller import body, session
from tests.fakes.strangers import SHAPES
from tests.fakes.tokn import StartedTokn, memory_bytes, wait_for
from tests.fakes.upstream import pool_toml

pytestmark = pytest.mark.system

LONG_S = 60.0
CALLERS = 4  # on connections that they keep
NEWCOMERS = 2  # on a new connection for each call
GAP_S = 0.2  # between two calls of each
MEMORY_BYTES_MAX = 100 * 1024 * 1024  # above what an idle edge has
SMALL_BYTES_MAX = 24 * 1024 * 1024
SLOWER_MAX = 3.0


def edge(tokn):
    (process,) = tokn.children("edge")
    return process


def cpu_s(process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def all_cpu_s(tokn) -> float:
    """CPU seconds of all processes of a deployment."""
    return sum(cpu_s(process) for process in tokn.tree())


def spends(tokn, seconds: float) -> float:
    """The share of a core that a deployment spends on who pays alone."""
    before_s = all_cpu_s(tokn)
    asyncio.run(paying(tokn, seconds))
    return (all_cpu_s(tokn) - before_s) / seconds


class Took(Struct):
    """How many seconds calls took, on connections that were kept and on new ones."""

    kept: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)


async def paying(tokn, seconds: float) -> Took:
    """Calls of those who pay. All must be good."""
    took, end = Took(), time.monotonic() + seconds

    async def call(client, times: list[float]) -> None:
        began = time.monotonic()
        sent = body("strangers", stream=False)
        headers = {"Authorization": f"Bearer {tokn.key}"}
        async with client.post(f"{tokn.url}/v1/chat/completions", json=sent, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        times.append(time.monotonic() - began)
        await asyncio.sleep(GAP_S)

    async def keeps() -> None:
        async with session(1) as client:
            while time.monotonic() < end:
                await call(client, took.kept)

    async def comes_anew() -> None:
        while time.monotonic() < end:
            async with session(1) as client:
                await call(client, took.new)

    async with asyncio.TaskGroup() as callers:
        for caller in (*[keeps] * CALLERS, *[comes_anew] * NEWCOMERS):
            callers.create_task(caller())
    return took


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


@contextmanager
def most_memory(process) -> Iterator[list[int]]:
    """The most that a process has meanwhile, looked at each 100 ms."""
    most = [memory_bytes([process])]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], memory_bytes([process]))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield most
    finally:
        over.set()
        looker.join()


def connections(tokn) -> float:
    """How many connections the edge says that it has."""
    try:
        with urllib.request.urlopen(f"{tokn.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return math.inf  # it still works off those that came last
    (found,) = [line for line in lines if line.startswith("tokn_edge_connections ")]
    return float(found.split()[1])


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """As people start it: an edge that shares no memory."""
    folder = tmp_path_factory.mktemp("strangers") / "data"
    with StartedTokn(folder, pool_toml(upstream.base_url)) as running:
        yield running
        assert running.stop()[0] == 0
        assert not running.orphans()


@pytest.fixture(scope="module")
def idle_bytes(tokn) -> int:
    """What the edge has in memory once it has served."""
    asyncio.run(paying(tokn, 0.5))
    return memory_bytes([edge(tokn)])


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_crowd_costs_nothing_that_stays(tokn, idle_bytes, shape):
    """Some hundred strangers of each shape: all calls of who pays go well, and memory and connections are as before."""
    crowd = asyncio.create_task(asyncio.to_thread(strangers.crowd, tokn.port, shape, 0.5, 300.0))
    with most_memory(edge(tokn)) as most:
        await paying(tokn, 0.5)
        figures = await crowd
    assert figures["opened"] > 50
    assert most[0] - idle_bytes < SMALL_BYTES_MAX
    await asyncio.to_thread(wait_for, lambda: connections(tokn) < 5, 30, "the strangers are forgotten")


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_as_many_as_a_core_can_make(tokn, idle_bytes, shape):
    """A minute of as many strangers as one core makes: memory within 100 MB, p99 within three times that with as much CPU burnt.

    So it is for who pays on a connection that he keeps, and on a new one for each call.
    """
    own = spends(tokn, 5.0)
    before_s, all_before_s = cpu_s(edge(tokn)), all_cpu_s(tokn)
    generator = strangers.start(tokn.port, shape, LONG_S)
    try:
        with most_memory(edge(tokn)) as most:
            took = asyncio.run(paying(tokn, LONG_S - 2))
            figures = json.loads(generator.communicate()[0])
    finally:
        if generator.poll() is None:  # the next shape would meet two
            generator.kill()
            generator.communicate()
    spent = (cpu_s(edge(tokn)) - before_s) / LONG_S
    everywhere = max((all_cpu_s(tokn) - all_before_s) / LONG_S - own, 0.01)
    wait_for(lambda: connections(tokn) < 5, 30, "the strangers are forgotten")
    burners = [
        strangers.start("burn", share, LONG_S) for share in (figures["cpu_share"], min(everywhere, 1.0))
    ]
    try:
        alone = asyncio.run(paying(tokn, LONG_S / 2))
    finally:
        for burner in burners:
            burner.kill()
            burner.communicate()
    seen = {
        **figures,
        "memory_mib": (most[0] - idle_bytes) >> 20,
        "edge_cpu_share": round(spent, 2),
        "edge_cpu_us": round(spent * LONG_S * 1e6 / figures["opened"]),
        "p99_ms": round(p99(took.kept) * 1000),
        "p99_burnt_ms": round(p99(alone.kept) * 1000),
        "p99_new_ms": round(p99(took.new) * 1000),
        "p99_new_burnt_ms": round(p99(alone.new) * 1000),
    }
    sys.stdout.write(f"\n{json.dumps(seen)}\n")
    assert most[0] - idle_bytes < MEMORY_BYTES_MAX, seen
    assert p99(took.kept) < SLOWER_MAX * p99(alone.kept), seen
    assert p99(took.new) < SLOWER_MAX * p99(alone.new), seen
