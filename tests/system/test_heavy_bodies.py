"""Owns bodies that are dear to read, over real HTTP: no step of the edge's loop is long, and everybody else is served."""

import asyncio
import collections
import io
import itertools
import random
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from schemas.dialects import DIALECTS
from tests.fakes import heavy, spoiled
from tests.fakes.caller import session
from tests.fakes.tokn import CHILDREN, Tokn

pytestmark = pytest.mark.system

CONNECTIONS = 4
SEED = 20261126
MODEL = "tokn-sandbox"
STEP_S = 0.1
LOOK_S = 0.05  # between two looks at the edge's health
_BUCKET = re.compile(r'^tokn_edge_step_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
_MEMORY_MB_MAX = 700  # of an edge: what all bodies may take, twice, and itself


@pytest.fixture(scope="module")
def tokn(tmp_path_factory):
    """`tokn up` with the sandbox, which answers at once and whose bodies are read as those of any translated family."""
    config = '[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 0\n'
    with Tokn(tmp_path_factory.mktemp("heavy") / "data", config) as running:
        yield running
        assert running.audit()["ok"] is True


def bodies(count: int) -> Iterator[tuple[str, bytes]]:
    """So many (path, body) pairs: one in fifty is large, one in five hundred as large as any."""
    dice = random.Random(SEED)
    kinds = [*heavy.JUNK.values(), *heavy.MOST.values()]
    for number in range(count):
        dialect = DIALECTS[number % len(DIALECTS)]
        if number % 500 == 250:
            yield dialect.path, heavy.body(dice.choice(kinds), heavy.BODY_BYTES, MODEL)
        elif number % 50 == 0:
            size = int(heavy.MIB * 2 ** dice.uniform(-4, 2))
            yield dialect.path, heavy.body(dice.choice(kinds), size, MODEL)
        else:
            yield dialect.path, spoiled.body(dialect.name, dice.getrandbits(32), MODEL)


def steps(tokn: Tokn) -> dict[float, float]:
    """How many steps of the edge's loop took at most so many seconds."""
    text = httpx.get(f"{tokn.url}/metrics").text
    return {float(bound): float(count) for bound, count in _BUCKET.findall(text)}


def between(before: dict[float, float], after: dict[float, float]) -> dict[float, float]:
    """What came to each bucket meanwhile, alone."""
    counts = [after[bound] - before[bound] for bound in sorted(after)]
    alone = [counts[0], *(more - less for less, more in itertools.pairwise(counts))]
    return {bound: count for bound, count in zip(sorted(after), alone, strict=True) if count}


def pids(tokn: Tokn) -> dict[str, list[int]]:
    return {name: sorted(process.pid for process in tokn.children(name)) for name in CHILDREN}


class Others:
    """Who has nothing to do with it: a prober of the edge's health, and a caller with a key of its own."""

    def __init__(self, tokn: Tokn) -> None:
        self._url = tokn.url
        self._key = tokn.row("key", "create", "--balance", "1", "--json")["key"]
        self.statuses: collections.Counter[tuple[str, int]] = collections.Counter()
        self.waits_s: list[float] = []
        self.memory_bytes = 0
        self._edge = tokn.child("edge")
        self.busy = True

    async def run(self) -> None:
        """Asks on until nobody is busy any more."""
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        async with session(2) as client:
            while self.busy:
                began = time.monotonic()
                async with client.get(f"{self._url}/healthz") as answer:
                    self.statuses["health", answer.status] += 1
                self.waits_s.append(time.monotonic() - began)
                headers = {"Authorization": f"Bearer {self._key}"}
                async with client.post(
                    f"{self._url}/v1/chat/completions", json=asked, headers=headers
                ) as answer:
                    self.statuses["call", answer.status] += 1
                self.memory_bytes = max(self.memory_bytes, self._edge.memory_info().rss)
                await asyncio.sleep(LOOK_S)


async def send(tokn: Tokn, key: str, work: Iterator[tuple[str, bytes]]) -> collections.Counter[int]:
    """The statuses of all of some bodies. Each refusal is JSON with a message."""
    statuses: collections.Counter[int] = collections.Counter()

    async def caller(client) -> None:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        for path, body in work:
            async with client.post(tokn.url + path, data=io.BytesIO(body), headers=headers) as answer:
                content = await answer.read()
                statuses[answer.status] += 1
                assert answer.status in (200, 400, 402, 404, 413), (path, body[:300], content[:300])
                assert answer.status == 200 or b'"message":' in content

    async with session(CONNECTIONS) as client:
        await asyncio.gather(*(caller(client) for _ in range(CONNECTIONS)))
    return statuses


@pytest.mark.parametrize(
    "count",
    [
        500,
        pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3_600)]),
        pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(36_000)]),
    ],
)
async def test_no_body_holds_up_the_loop(tokn, count):
    """Hostile bodies of every dialect and any size, from a key with money: no step of the loop takes 100 ms of processor time.

    None is answered with a 5xx, nothing restarts, memory stays within its budget, and others are served all along.
    """
    before, born, others = steps(tokn), pids(tokn), Others(tokn)
    beside = asyncio.create_task(others.run())
    try:
        statuses = await send(tokn, tokn.key, bodies(count))
    finally:
        others.busy = False
        await beside
    measured = between(before, steps(tokn))
    print(count, dict(statuses), measured, max(others.waits_s), others.memory_bytes >> 20)  # noqa: T201  figures of a long run
    assert sum(statuses.values()) == count
    assert max(measured) <= STEP_S, measured
    assert others.statuses.keys() == {("health", 200), ("call", 200)}
    assert others.memory_bytes < _MEMORY_MB_MAX << 20
    assert pids(tokn) == born


async def test_no_large_body_is_read_without_money(tokn):
    """A key that could pay for no call gets its 402 before a body above 64 KiB is read, and as ever for a small one."""
    key = tokn.row("key", "create", "--balance", "0", "--json")["key"]
    bodies = [
        heavy.body(heavy.JUNK[junk], size, MODEL)
        for size, junk in ((heavy.BODY_BYTES, "keys"), (100_000, "messages"))
    ]
    before = steps(tokn)
    async with session(1) as client:
        for dialect in DIALECTS:
            for body in bodies:
                headers = {"Authorization": f"Bearer {key}"}
                async with client.post(
                    tokn.url + dialect.path, data=io.BytesIO(body), headers=headers
                ) as answer:
                    assert answer.status == 402, (dialect.name, await answer.text())
                    assert answer.headers["x-should-retry"] == "false"
    assert max(between(before, steps(tokn))) <= STEP_S
