"""Usage of large books: what commands and the console ask of 30 days is answered at once, and sums keep up with calls."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.commits.ledgers import take_over
from ledger.commits.rolling import Rolling
from ledger.rollups.sql import ROLLED
from ledger.rules.rows import UsageRow
from ledger.store.base import Store
from ledger.verbs.sums import SUMS
from ledger.verbs.usage import usage
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.sums import SumsQuery
from schemas.verbs.usage import UsageQuery
from tests.ledger.bench.filled import BEGIN_MS, CALLS, analyse, fill
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock

DAY_MS = 86_400_000
BEGIN = BEGIN_MS - BEGIN_MS % DAY_MS
DAYS = 30
ANSWER_S = 0.3
LARGE = 1_000_000
TURNS = 3  # the least of so many counts: what a neighbour took is no matter of the books
SIZES = [  # calls and their keys
    pytest.param(3_000, 30),
    pytest.param(1_000_000, 10_000, marks=pytest.mark.long),
    pytest.param(10_000_000, 100_000, marks=pytest.mark.long),
]
BY = [
    *((), ("hour",), ("day",), ("month",), ("organization",), ("model",), ("provider",), ("pool",)),
    *(("hour", "model"), ("day", "model"), ("day", "organization")),
]
BY_KEY = [("key",), ("day", "key"), ("month", "key"), ("hour", "key"), ("key", "model"), ("key", "pool")]

LAG_S = 10.0
BESIDE = 100_000  # calls that are there before
WRITTEN_S, PART, PART_S = 60.0, 100, 0.1  # a part is written at once
_NAMES = ", ".join(name for name in UsageRow.__struct_fields__ if name not in {"request_id", "created_ms"})
COPY_SQL = (
    f"INSERT INTO usage (request_id, created_ms, {_NAMES}) SELECT $1 || CAST(seq AS text), $3, {_NAMES} "
    f"FROM usage WHERE seq > $2 AND seq <= $2 + {PART}"
)

pytestmark = pytest.mark.timeout(7_200)


class Large:
    """Books with many calls, and how long they take to answer."""

    def __init__(self, store: Store, books: Books) -> None:
        self.store = store
        self.books = books
        self.slow: list[str] = []

    async def sums(self, **asked: Any) -> Rows:
        """A page of sums."""
        return await SUMS.answer(self, SumsQuery(VERSION, **asked))  # type: ignore[arg-type]  it reads the store alone

    async def timed(self, what: str, ask: Callable[[], Awaitable[Rows]]) -> Rows:
        """An answer, which is remembered as slow if it took too long. SQLite works in this process, PostgreSQL beside it."""
        clock = time.process_time if self.store.dialect == "sqlite" else time.perf_counter
        least_s = float("inf")
        for _ in range(TURNS):
            began = clock()
            reply = await ask()
            least_s = min(least_s, clock() - began)
        assert not reply.problem
        sys.stdout.write(f"{self.store.dialect}: {what}: {least_s * 1000:.0f} ms\n")
        if least_s > ANSWER_S:
            self.slow.append(f"{what}: {least_s * 1000:.0f} ms")
        return reply


@pytest.mark.parametrize(("calls", "keys"), SIZES)
async def test_usage_of_large_books(store: Store, clock: Clock, calls: int, keys: int) -> None:
    """Each sum of 30 days has every call once, and none takes long, nor do the newest calls of all or of a key."""
    began = time.perf_counter()
    await fill(store, calls, keys, DAYS * DAY_MS, CALLS)
    filled_s = time.perf_counter() - began
    clock.ms = BEGIN_MS + DAYS * DAY_MS
    await take_over(store)
    books = await Books.open(store, clock)
    books.start()
    rolling = Rolling(books.writer)
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(2):
        await rolling.step()
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - worked
    (rolled,) = await store.fetch(ROLLED)
    assert int(rolled[0]) == calls
    sys.stdout.write(
        f"{store.dialect}: {calls} calls filled in {filled_s:.0f} s, rolled in {took_s:.0f} s, "
        f"{calls / took_s:.0f}/s, {cpu_s:.0f} s of this process\n"
    )
    await analyse(store)
    large = Large(store, books)
    since_s, until_s = BEGIN // 1000, (BEGIN + (DAYS + 1) * DAY_MS) // 1000
    for by in (*BY, *BY_KEY):
        reply = await large.timed(
            f"by {by}",
            lambda by=by: large.sums(by=by, since_s=since_s, until_s=until_s, rest=True, largest=True),  # type: ignore[misc]  bound now
        )
        assert reply.rest is not None
        assert sum(row["calls"] for row in (*reply.rows, reply.rest)) == calls
    for by in ((), ("day", "model"), ("hour",)):
        reply = await large.timed(
            f"of a key by {by}",
            lambda by=by: large.sums(by=by, since_s=since_s, until_s=until_s, key_id="k7", limit=1000),  # type: ignore[misc]  as above
        )
        assert sum(row["calls"] for row in reply.rows) == calls // keys
    newest = await large.timed("the newest calls", lambda: usage(store, UsageQuery(VERSION)))
    assert len(newest.rows) == 100
    of_key = await large.timed("the newest of a key", lambda: usage(store, UsageQuery(VERSION, "k7")))
    assert len(of_key.rows) == min(100, calls // keys)
    await books.close()
    assert calls < LARGE or not large.slow


@pytest.mark.long
async def test_sums_keep_up_with_calls(source: Source, clock: Clock) -> None:
    """While a thousand calls a second are written beside, each is summed within ten seconds."""
    store = await source.open()
    await fill(store, BESIDE, BESIDE // 10, DAYS * DAY_MS, CALLS)
    clock.ms = BEGIN_MS + DAYS * DAY_MS
    await take_over(store)
    books = await Books.open(store, clock)
    books.start()
    rolling, other = Rolling(books.writer), await source.again()
    await rolling.step()
    written: deque[tuple[int, float]] = deque()  # the last call of each part, and when it was written
    lags_s: list[float] = []
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        while True:
            (rolled,) = await other.fetch(ROLLED)
            while written and written[0][0] <= int(rolled[0]):
                written.popleft()
            lags_s.append(loop.time() - written[0][1] if written else 0.0)
            await asyncio.sleep(PART_S / 2)

    errands = [asyncio.create_task(one) for one in (rolling.run(), watch())]
    begun = loop.time()
    for number in range(int(WRITTEN_S / PART_S)):
        await asyncio.sleep(begun + number * PART_S - loop.time())
        async with other.write() as tx:
            await tx.execute(COPY_SQL, f"beside{number}-", number * PART, clock.ms)
            (newest,) = await tx.fetch("SELECT MAX(seq) FROM usage")
        written.append((int(newest[0]), loop.time()))
    took_s = loop.time() - begun
    for one in errands:
        one.cancel()
    await asyncio.gather(*errands, return_exceptions=True)
    await rolling.step()
    sys.stdout.write(
        f"{store.dialect}: {int(WRITTEN_S * PART / PART_S / took_s)} calls a second, "
        f"summed after {max(lags_s):.1f} s at most\n"
    )
    await other.close()
    await books.close()
    assert max(lags_s) < LAG_S
