"""Owns faults in real processes in the middle of 40 streams of all dialects: what callers see, when, and the books after."""

import asyncio
import signal
import time
from collections import Counter
from typing import Any

import pytest

from tests.fakes.books import unexplained
from tests.fakes.caller import Seen, body, call, session, until, word_of
from tests.fakes.tokn import Tokn, alive
from tests.fakes.ways import in_turn, ways_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

STREAMS = 40
WORDS = 60
PACE_S = 0.1
HOLDS_CLOSED_WITHIN_S = 60.0
BACK_WITHIN_S = 15.0
times = pytest.mark.parametrize(
    "turn", [0, *(pytest.param(turn, marks=pytest.mark.long) for turn in range(1, 5))]
)


@pytest.fixture
def tokn(upstream, tmp_path):
    """A deployment for one fault."""
    # A busy machine may take longer to start a worker again than a call waits for one with room.
    waits = f"[edge]\nfull_wait_s = {BACK_WITHIN_S}\n"
    with Tokn(tmp_path / "data", waits + ways_toml(upstream.base_url)) as running:
        yield running
        assert running.stop()[0] == 0
        assert not running.orphans()


class Load:
    """40 streams that have all begun, and what became of them."""

    def __init__(self, tokn: Tokn, upstream: Any) -> None:
        self.tokn = tokn
        self.upstream = upstream
        self.streams: list[Seen] = []
        self.struck_at = 0.0
        self._tasks: list[asyncio.Task[Seen]] = []

    async def begin(self, client) -> None:
        """Starts the streams and waits until each has its first words."""
        for index, way in zip(range(STREAMS), in_turn(stream=True), strict=False):
            seen = Seen(f"{id(self)}-{index}")
            self.streams.append(seen)
            request = way.ask(seen.tag, stream=True, words=WORDS, pace_s=PACE_S)
            calling = call(client, self.tokn.url, self.tokn.key, request, path=way.path, seen=seen)
            self._tasks.append(asyncio.create_task(calling))
        await until(lambda: all(seen.words > 2 for seen in self.streams), 30, "all streams run")

    async def strike(self, name: str, sign: int = signal.SIGKILL) -> Any:
        """Sends the signal."""
        self.struck_at = time.monotonic()
        return await asyncio.to_thread(self.tokn.kill, name, sign)

    async def end(self) -> None:
        """Waits for every stream's end, whatever it is."""
        await asyncio.gather(*self._tasks)

    def counts(self) -> Counter[str]:
        """Streams by how they ended."""
        return Counter(
            "complete" if seen.complete else "error" if seen.error else "broken" if seen.broken else "hole"
            for seen in self.streams
        )

    def latest_s(self) -> float:
        """Seconds from the strike to the last stream's end."""
        return max(seen.ended_at for seen in self.streams) - self.struck_at


async def back_to_work(tokn: Tokn, client) -> None:
    """A new call succeeds soon after the fault."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while True:
        seen = await call(client, tokn.url, tokn.key, body("after", words=2))
        if seen.complete:
            return
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.1)


async def books_close(tokn: Tokn, upstream: Any, load: Load) -> None:
    """The audit passes, every hold is closed, each id is billed once at most, every upstream attempt is explained."""
    begun = time.monotonic()

    def closed() -> bool:
        found = tokn.run("audit", "--json")
        return found.returncode == 0 and '"open_holds":0' in found.stdout.replace(" ", "")

    while not await asyncio.to_thread(closed):
        assert time.monotonic() - begun < HOLDS_CLOSED_WITHIN_S, tokn.audit()
        await asyncio.sleep(0.5)
    rows = tokn.rows("usage", "--limit", "1000")
    ids = [row["request_id"] for row in rows]
    assert len(ids) == len(set(ids))
    by_id = {row["request_id"]: row for row in rows}
    for seen in load.streams:
        if seen.complete:
            assert by_id[seen.request_id]["completion_tokens"] == WORDS
            assert by_id[seen.request_id]["known"] == "reported"
    calls = {seen.request_id: len(upstream.named(seen.tag)) for seen in load.streams}
    assert not unexplained(tokn.data, calls)


@times
async def test_worker_killed(tokn, upstream, turn):
    """A worker that dies ends each of its streams with an error event within 5 s; calls without a byte go on."""
    async with session() as client:
        load = Load(tokn, upstream)
        early = [
            asyncio.create_task(
                call(client, tokn.url, tokn.key, body(f"early-{index}", stream=False, pace_s=4.0, words=2))
            )
            for index in range(5)
        ]
        await load.begin(client)
        await load.strike("worker")
        await load.end()
        assert load.counts() == {"error": STREAMS}, load.streams
        assert all(seen.done for seen in load.streams)
        assert load.latest_s() < 5.0
        for seen in await asyncio.gather(*early):
            assert seen.complete, seen
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)


@times
async def test_worker_frozen(tokn, upstream, turn):
    """A worker that freezes ends each of its streams with an error event within 15 s, and works on when it thaws."""
    async with session() as client:
        load = Load(tokn, upstream)
        await load.begin(client)
        frozen = await load.strike("worker", signal.SIGSTOP)
        try:
            await load.end()
        finally:
            frozen.send_signal(signal.SIGCONT)
        assert load.counts() == {"error": STREAMS}, load.streams
        assert load.latest_s() < 16.0
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)


@times
async def test_edge_killed(tokn, upstream, turn):
    """An edge that dies breaks its callers' connections; workers stop the upstreams, and their events settle."""
    async with session() as client:
        load = Load(tokn, upstream)
        await load.begin(client)
        await load.strike("edge")
        await load.end()
        assert load.counts() == {"broken": STREAMS}, load.streams
        assert load.latest_s() < 2.0
        calls = [only for seen in load.streams for only in upstream.named(seen.tag)]
        await until(
            lambda: all(only.closed_at or only.finished for only in calls), 15, "upstreams are closed"
        )
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)


@times
async def test_ledger_killed(tokn, upstream, turn):
    """Calls in flight do not notice a ledger that dies; new ones wait for the next one."""
    async with session() as client:
        load = Load(tokn, upstream)
        await load.begin(client)
        await load.strike("ledger")
        during = await call(client, tokn.url, tokn.key, body("during", words=2))
        assert during.complete or during.status == 503, during
        await load.end()
        assert load.counts() == {"complete": STREAMS}, load.streams
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)


@times
async def test_nats_killed(tokn, upstream, turn):
    """When nats-server dies each stream goes on without a hole or ends with an error event; clients reconnect."""
    async with session() as client:
        load = Load(tokn, upstream)
        await load.begin(client)
        await load.strike("nats-server")
        await load.end()
        counts = load.counts()
        assert counts["complete"] + counts["error"] == STREAMS, (counts, load.streams)
        for seen in load.streams:
            words = [word for chunk in seen.chunks if (word := word_of(chunk))]
            assert words == [f"w{index} " for index in range(len(words))]
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)


@times
async def test_up_killed(tokn, upstream, turn):
    """When `tokn up` itself is killed everything ends with it; the next start finds all and closes the books."""
    async with session() as client:
        load = Load(tokn, upstream)
        await load.begin(client)
        key = tokn.key
        await load.strike("up")
        await load.end()
        assert load.counts() == {"broken": STREAMS}, load.streams
        await until(lambda: not any(alive(process) for process in tokn.orphans()), 5, "no orphan is left")
        tokn.process.wait(5)
        await asyncio.to_thread(tokn.start)
        tokn.lines.append(key)
        await back_to_work(tokn, client)
    await books_close(tokn, upstream, load)
