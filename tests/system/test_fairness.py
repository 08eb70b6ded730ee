"""One key with a hundred times the load of others, over one edge and over two: what the others notice of it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest

from tests.chaos.separate import Separate
from tests.fakes.caller import body, session, until
from tests.fakes.upstream import Upstream, pool_toml

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PLACES = 40  # of the pool
KEPT = PLACES // 10  # for keys with nothing running
LOUD = 100  # calls at once of the loud key
QUIET = 9  # other keys, each with one call at a time
CALL_S = 1.0
FEW = 3  # rounds of the quiet keys
OVER = pytest.mark.parametrize("edges", [1, 2])


class Answer:
    """One call as its caller saw it."""

    def __init__(self, status: int, headers: Any, took_s: float) -> None:
        self.status = status
        self.headers = headers
        self.took_s = took_s
        self.queue_ms = int(headers.get("x-tokn-queue-ms", 0))


class Deployment:
    """Two edges, a worker with few places, and keys."""

    def __init__(self, separate: Separate, keys: list[str]) -> None:
        self.urls = separate.urls
        self.loud, *self.quiet = keys
        self.client: aiohttp.ClientSession

    async def call(self, key: str, url: str, **script: Any) -> Answer:
        """One plain or streamed call, read to its end."""
        began = time.monotonic()
        async with self.client.post(
            f"{url}/v1/chat/completions",
            json=body("", words=1, **script),
            headers={"Authorization": f"Bearer {key}"},
        ) as answer:
            await answer.read()
            return Answer(answer.status, answer.headers, time.monotonic() - began)

    async def rest(self) -> None:
        """Waits until the pool has nothing running, and no key is remembered as busy."""
        for url in self.urls:
            while (await self.call(self.loud, url, stream=False)).status != 200:
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def separate(upstream: Upstream) -> Iterator[Separate]:
    """One deployment for all cases."""
    with Separate("sqlite", pool_toml(upstream.base_url, max_inflight=PLACES), edges=2) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def keys(separate: Separate) -> list[str]:
    """The loud key, and the quiet ones."""
    return [separate.key("1000")["key"] for _ in range(1 + QUIET)]


@pytest.fixture
async def deployed(separate: Separate, keys: list[str], upstream: Upstream) -> AsyncIterator[Deployment]:
    """The deployment with a client, whatever a test left behind it let go."""
    deployment = Deployment(separate, keys)
    async with session(1024) as deployment.client:
        yield deployment
        while upstream.waiting:
            upstream.open_gate()
            await asyncio.sleep(0.05)
        await deployment.rest()


async def settled(count: Callable[[], int], within_s: float = 60.0) -> int:
    """A count that has not changed for two seconds."""
    deadline, last, since = time.monotonic() + within_s, -1, 0.0
    while time.monotonic() < deadline:
        if (now := count()) != last:
            last, since = now, time.monotonic()
        elif now and time.monotonic() - since >= 2:
            return now
        await asyncio.sleep(0.02)
    raise TimeoutError(f"still changing after {within_s} s")


@OVER
async def test_long_streams_begun_before_leave_room(
    deployed: Deployment, upstream: Upstream, edges: int
) -> None:
    """A key that has begun all the endless streams it may keeps nobody out: every other key's call is served."""
    urls = itertools.cycle(deployed.urls[:edges])
    streams = [
        asyncio.create_task(deployed.call(deployed.loud, next(urls), stream=True, gate=True))
        for _ in range(4 * LOUD)
    ]
    held = await settled(lambda: upstream.waiting)
    assert held <= PLACES - KEPT + edges - 1
    for _ in range(3):
        answers = await asyncio.gather(
            *(deployed.call(key, next(urls), stream=True) for key in deployed.quiet)
        )
        assert [answer.status for answer in answers] == [200] * QUIET
    assert upstream.waiting == held, "nothing that runs is cut"
    # One that still waited for room would come to the gate once it is shut again, and never end.
    await until(lambda: sum(not one.done() for one in streams) == held, 60, "all others are refused")
    upstream.open_gate()
    done = await asyncio.gather(*streams)
    assert sum(answer.status == 200 for answer in done) == held
    refused = [answer for answer in done if answer.status != 200]
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(429, "1")}


async def loud_loop(deployed: Deployment, url: str, over: asyncio.Event) -> None:
    """One of the loud key's callers: it asks again and again, and comes back at once when it is refused."""
    while not over.is_set():
        answer = await deployed.call(deployed.loud, url, stream=False, pace_s=CALL_S)
        if answer.status == 429:
            await asyncio.sleep(0.1)


async def quiet_rounds(deployed: Deployment, urls: list[str], rounds: int) -> list[Answer]:
    """The quiet keys' calls, one after another for each key."""

    async def one(key: str, at: int) -> list[Answer]:
        return [
            await deployed.call(key, urls[(at + number) % len(urls)], stream=False, pace_s=CALL_S)
            for number in range(rounds)
        ]

    found = await asyncio.gather(*(one(key, at) for at, key in enumerate(deployed.quiet)))
    return [answer for answers in found for answer in answers]


def p99_s(answers: list[Answer]) -> float:
    """Of how long they took."""
    return sorted(answer.took_s for answer in answers)[max(len(answers) * 99 // 100 - 1, 0)]


@OVER
@pytest.mark.parametrize("rounds", [FEW, pytest.param(60, marks=pytest.mark.long)])
async def test_a_loud_key_slows_nobody(
    deployed: Deployment, edges: int, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    """With a key of a hundred times their load beside them, others' calls of 1 s are all served, and none waits.

    At full size their 99th percentile is within twice of theirs alone; at small size that would say how busy a machine is.
    """
    urls = deployed.urls[:edges]
    alone = await quiet_rounds(deployed, urls, max(rounds // 3, 1))
    over = asyncio.Event()
    loops = [
        asyncio.create_task(loud_loop(deployed, url, over))
        for _, url in zip(range(LOUD), itertools.cycle(urls), strict=False)
    ]
    try:
        beside = await quiet_rounds(deployed, urls, rounds)
    finally:
        over.set()
        await asyncio.gather(*loops)
    record_property("p99_alone_s", p99_s(alone))
    record_property("p99_beside_s", p99_s(beside))
    record_property("longest_wait_ms", max(answer.queue_ms for answer in beside))
    assert {answer.status for answer in [*alone, *beside]} == {200}
    assert not any(answer.queue_ms for answer in beside)
    assert rounds == FEW or p99_s(beside) <= 2 * p99_s(alone)
