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

from tests.fakes import strangers
from tests.fakes.caller import body, session
from tests.fakes.strangers import SHAPES
from tests.fakes.tokn import memory_bytes, wait_for

pytestmark = pytest.mark.system

LONG_S = 60.0
GAP_S = 0.05  # between two calls of who pays
MEMORY_BYTES_MAX = 100 * 1024 * 1024  # above what an idle edge has
SMALL_BYTES_MAX = 24 * 1024 * 1024
SLOWER_MAX = 3.0


def edge(tokn):
    (process,) = tokn.children("edge")
    return process


def cpu_s(process) -> float:
    used = process.cpu_times()
    return used.user + used.system


async def paying(tokn, seconds: float) -> list[float]:
    """Calls one after the other's beginning; how many seconds each took. All must be good."""
    took: list[float] = []
    headers = {"Authorization": f"Bearer {tokn.key}"}

    async def call(client):
        began = time.monotonic()
        sent = body("strangers", stream=False)
        async with client.post(f"{tokn.url}/v1/chat/completions", json=sent, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        took.append(time.monotonic() - began)

    async with session(16) as client, asyncio.TaskGroup() as calls:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            calls.create_task(call(client))
            await asyncio.sleep(GAP_S)
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
    """A minute of as many strangers as one core makes: memory within 100 MB, p99 within three times that with as much CPU burnt."""
    before_s = cpu_s(edge(tokn))
    generator = strangers.start(tokn.port, shape, LONG_S)
    with most_memory(edge(tokn)) as most:
        took = asyncio.run(paying(tokn, LONG_S - 2))
        figures = json.loads(generator.communicate()[0])
    spent = (cpu_s(edge(tokn)) - before_s) / LONG_S
    wait_for(lambda: connections(tokn) < 5, 30, "the strangers are forgotten")
    burners = [strangers.start("burn", share, LONG_S) for share in (figures["cpu_share"], min(spent, 1.0))]
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
        "p99_ms": round(p99(took) * 1000),
        "p99_burnt_ms": round(p99(alone) * 1000),
    }
    sys.stdout.write(f"\n{json.dumps(seen)}\n")
    assert most[0] - idle_bytes < MEMORY_BYTES_MAX, seen
    assert p99(took) < SLOWER_MAX * p99(alone), seen
