"""Owns what caps and limits cost a ledger: CPU of authorise and settle of keys with three caps and limits, and without.

`python -m tests.ledger.bench.bounds [--batch 4] [--keys 1] [--rounds 20] [--calls 400] [--url URL] [--profile]` asks one
committer in this process, without a bus: so many calls a commit, keys with bounds and keys without in turn, A B B A.
`--profile` prints where the bounded ones spend it.
"""

import argparse
import asyncio
import cProfile
import hashlib
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from ledger.app import open_store
from ledger.commits.commit import Committer, Delivery
from ledger.prices.offers import Catalogue
from ledger.telemetry import Telemetry
from schemas.bus.subjects import new_id
from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.base import VERSION
from schemas.verbs.calls import Authorise, Hold
from schemas.verbs.caps import CapCreate, NewCap
from schemas.verbs.keys import KeyCreate
from tests.ledger.bench.throughput import small_event
from tests.ledger.harness import command

USD = 10**9
PLENTY = 10**8  # of a limit: it never refuses
FREE, BOUND = "free", "bound"
PERIODS = ("day", "month")
PARTS = ("authorise", "settle")


def _create(name: str, kind: str) -> KeyCreate:
    bound = kind == BOUND
    limit = PLENTY if bound else 0
    return KeyCreate(
        v=VERSION,
        digest=_digest(name),
        name=name,
        profile=kind,
        posted_nano=1_000_000 * USD,
        providers=None,
        playground=False,
        caps=tuple(NewCap(f"cap_{name}{period}", period, 1_000_000 * USD) for period in PERIODS if bound),
        rpm=limit,
        tpm=limit,
        in_flight=limit,
    )


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class Bench:
    """A committer with keys of both kinds."""

    def __init__(self, committer: Committer, keys: int, batch: int) -> None:
        self._committer = committer
        self._batch = batch
        self._keys = keys
        self._identity = new_id("bench_")
        self._sequence = 0

    async def make(self) -> None:
        """The keys, and the organisation's cap."""
        for kind in (FREE, BOUND):
            for number in range(self._keys):
                await self._committer.commit([command(_create(f"{kind}{number}", kind))])
        cap = NewCap("cap_org", "month", 1_000_000 * USD)
        (made,) = await self._committer.commit([command(CapCreate(VERSION, cap, organization=BOUND))])
        if made.problem:
            raise RuntimeError(made.problem)

    async def run(self, kind: str, calls: int) -> tuple[float, float]:
        """CPU microseconds of a call: authorise, settle."""
        ids = [new_id() for _ in range(calls)]
        groups = [ids[at : at + self._batch] for at in range(0, calls, self._batch)]
        asked = [
            [command(self._authorise(kind, at, one)) for at, one in enumerate(group)] for group in groups
        ]
        began = time.process_time()
        for commands in asked:
            self._held(await self._committer.commit(commands))
        between = time.process_time()
        for group in groups:
            self._sequence += 1
            events = tuple(map(small_event, group))
            await self._committer.commit([], [Delivery(self._identity, self._sequence, events)])
        ended = time.process_time()
        return (between - began) / calls * 1e6, (ended - between) / calls * 1e6

    def _authorise(self, kind: str, at: int, request_id: str) -> Authorise:
        return Authorise(
            v=VERSION,
            request_id=request_id,
            digest=_digest(f"{kind}{at % self._keys}"),
            model="gpt-4o",
            prompt_max=300,
            choices=1,
            limit=100,
        )

    @staticmethod
    def _held(answers: Sequence[Any]) -> None:
        if refused := [one for one in answers if not isinstance(one, Hold)]:
            raise RuntimeError(f"{refused[0]}")


async def run(url: str, *, keys: int, batch: int, rounds: int, calls: int, profile: bool) -> None:
    """Prints medians of both, and of their differences round by round."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(url or f"sqlite:///{folder}/books.db")
        bench = Bench(
            Committer(store, Catalogue(BUILTIN), b"pepper", Telemetry(CollectorRegistry())), keys, batch
        )
        await bench.make()
        for kind in (FREE, BOUND):
            await bench.run(kind, calls)
        seen: dict[str, list[tuple[float, float]]] = {FREE: [], BOUND: []}
        for turn in range(rounds):
            for kind in (FREE, BOUND, BOUND, FREE) if turn % 2 == 0 else (BOUND, FREE, FREE, BOUND):
                seen[kind].append(await bench.run(kind, calls))
        for place, part in enumerate(PARTS):
            free, bound = ([one[place] for one in seen[kind]] for kind in (FREE, BOUND))
            more = [b - a for a, b in zip(free, bound, strict=True)]
            sys.stdout.write(
                f"{part:10} without {statistics.median(free):6.1f} us, with {statistics.median(bound):6.1f} us, "
                f"difference {statistics.median(more):6.1f} us, least {min(bound) - min(free):6.1f} us\n"
            )
        if profile:
            profiler = cProfile.Profile(time.thread_time)
            profiler.enable()
            await bench.run(BOUND, calls)
            profiler.disable()
            pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4, help="calls in one commit")
    parser.add_argument("--keys", type=int, default=1, help="of each kind")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=400, help="in a round")
    parser.add_argument("--url", default="")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(
        run(
            chosen.url,
            keys=chosen.keys,
            batch=chosen.batch,
            rounds=chosen.rounds,
            calls=chosen.calls,
            profile=chosen.profile,
        )
    )
