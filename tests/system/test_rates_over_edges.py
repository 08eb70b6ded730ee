"""Rate limits at three edges and two ledgers that share the books: with three times the load, what is admitted is what the limit says."""

import asyncio
import itertools
import random
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from tests.chaos.separate import Separate
from tests.fakes.caller import body, call, session
from tests.fakes.upstream import Upstream, pool_toml

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

OVERLOAD = 3
MINUTE_MS = 60_000
IN_FLIGHT, LASTS_S = 4, 1.0
TOKENS = 30_000
PROMPT, OUTPUT_MIN, OUTPUT_MAX = 7, 100, 400
LEAST_SHARE = {60: 0.97, 600: 0.98}  # of a limit of so many calls, in each minute
REST_S = 30.0
RUNS = [  # minutes, and in how many seconds each of them is asked for
    pytest.param(1, 6, id="short"),
    pytest.param(5, 60, marks=pytest.mark.long, id="five minutes"),
]


class Load(Struct, frozen=True):
    """A key's limit, and what is asked of it: so many calls a minute."""

    name: str
    limit: int
    calls: float
    script: Callable[[random.Random], dict[str, Any]]

    @property
    def option(self) -> str:
        """That of `tokn key create`."""
        return f"--{self.name}={self.limit}"


def _small(_chance: random.Random) -> dict[str, Any]:
    return {}


def _lasting(_chance: random.Random) -> dict[str, Any]:
    return {"pace_s": LASTS_S}


def _varied(chance: random.Random) -> dict[str, Any]:
    return {"prompt": PROMPT, "completion": chance.randint(OUTPUT_MIN, OUTPUT_MAX)}


REQUESTS = [Load("rpm", limit, OVERLOAD * limit, _small) for limit in LEAST_SHARE]
BY_TOKENS = Load("tpm", TOKENS, OVERLOAD * TOKENS / (PROMPT + (OUTPUT_MIN + OUTPUT_MAX) / 2), _varied)
AT_ONCE = Load("in-flight", IN_FLIGHT, OVERLOAD * IN_FLIGHT * 60 / LASTS_S, _lasting)


@pytest.fixture(scope="module")
def separate(upstream: Upstream) -> Iterator[Separate]:
    """Three edges, two ledgers, one worker."""
    with Separate("postgresql", pool_toml(upstream.base_url), ledgers=2, edges=3) as running:
        yield running


class Caller:
    """Asks at a steady pace, whatever is answered, at each edge in turn."""

    def __init__(self, client: aiohttp.ClientSession, urls: list[str]) -> None:
        self._client = client
        self._urls = itertools.cycle(urls)
        self.answers: Counter[tuple[str, int]] = Counter()  # of a load's option, by status

    async def run(self, load: Load, key: str, minutes: int, minute_s: float) -> None:
        """All of one key's load; returns when everything is answered."""
        chance = random.Random(load.limit)
        loop = asyncio.get_running_loop()
        begun, step_s = loop.time(), (60 if load is AT_ONCE else minute_s) / load.calls
        async with asyncio.TaskGroup() as running:
            for number in range(int(minutes * minute_s / step_s)):
                await asyncio.sleep(begun + number * step_s - loop.time())
                running.create_task(self._one(load, key, load.script(chance)))

    async def _one(self, load: Load, key: str, script: dict[str, Any]) -> None:
        asked = body("", stream=False, words=1, **script) | {"max_tokens": 1_000}
        seen = await call(self._client, next(self._urls), key, asked)
        assert seen.status in {200, 429, 503}, seen  # the last where the machine is short of time
        self.answers[load.option, seen.status] += 1


def _minutes(times_ms: list[int], minutes: int) -> list[int]:
    """How many fall into each whole minute, from the first one on."""
    edges = [times_ms[0] + number * MINUTE_MS for number in range(minutes + 1)]
    return [
        bisect_left(times_ms, end) - bisect_left(times_ms, start) for start, end in itertools.pairwise(edges)
    ]


def _most(times_ms: list[int]) -> int:
    """The most in any 60 seconds."""
    return max(bisect_left(times_ms, at + MINUTE_MS) - place for place, at in enumerate(times_ms))


async def _calls(separate: Separate, key_id: str) -> list[tuple[int, int]]:
    """When each call of a key was admitted, by the ledger, and how many tokens it took."""
    rows = await separate.query(
        "SELECT h.created_ms, u.input + u.output FROM holds h JOIN usage u ON u.request_id = h.request_id "
        f"AND u.slot = 0 WHERE h.key_id = '{key_id}' ORDER BY h.created_ms"
    )
    return [(int(row[0]), int(row[1])) for row in rows]


async def _watch(separate: Separate, key_id: str) -> str:
    """A sequence that is called as soon as any commit would have more calls of a key in flight; that commit fails."""
    assert separate.postgres is not None
    name = f"beyond_{key_id}".lower()
    await separate.postgres.administer(f"CREATE SEQUENCE {name}")
    await separate.postgres.administer(
        f"ALTER TABLE rates ADD CHECK (scope <> 'key:{key_id}' OR in_flight BETWEEN 0 AND {IN_FLIGHT} "
        f"OR nextval('{name}') = 0)"
    )
    return name


@pytest.mark.parametrize(("minutes", "minute_s"), RUNS)
async def test_three_times_the_load(separate: Separate, minutes: int, minute_s: float) -> None:
    """Each minute has the limit's calls or hardly fewer and no 60 s have more, tokens follow, none beyond in flight."""
    loads = [*REQUESTS, BY_TOKENS, AT_ONCE] if minute_s == 60 else [REQUESTS[0], BY_TOKENS, AT_ONCE]
    keys = {load: separate.key("1000", load.option) for load in loads}
    watched = await _watch(separate, keys[AT_ONCE]["id"])
    async with session() as client, asyncio.TaskGroup() as running:
        caller = Caller(client, separate.urls)
        for load, key in keys.items():
            running.create_task(caller.run(load, key["key"], minutes, minute_s))
    async with asyncio.timeout(REST_S):
        while (proof := await asyncio.to_thread(separate.audit)).get("open_holds") != 0:
            await asyncio.sleep(0.1)
    assert proof["ok"], proof
    assert await separate.query(f"SELECT is_called FROM {watched}") == [(False,)]
    sys.stdout.write(f"answers: {dict(caller.answers)}\n")
    assert caller.answers[AT_ONCE.option, 429]
    for load in loads:
        calls = await _calls(separate, keys[load]["id"])
        times = [at_ms for at_ms, _ in calls]
        counts, most = _minutes(times, minutes), _most(times)
        tokens = sum(tokens for at_ms, tokens in calls if at_ms < times[0] + minutes * MINUTE_MS) / minutes
        sys.stdout.write(f"{load.option}: {counts}, at most {most} in 60 s; {tokens:.0f} tokens a minute\n")
        if load in REQUESTS:
            assert most <= load.limit
            assert min(counts) >= LEAST_SHARE[load.limit] * load.limit
        if load is BY_TOKENS:
            assert 0.95 <= tokens / load.limit <= 1.05
