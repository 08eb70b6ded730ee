"""Measures the books behind a real bus: authorisations at 32 callers, then a full stream settled by a ledger process.

python -m tests.ledger.bench.stream [--calls N] [--keys N] [--each N] [--database postgresql] [--ledgers N]

nats-server, database and ledgers are processes of their own, durable as in a deployment; this process only asks, and
looks on while the stream is settled.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import psutil

from schemas.verbs.calls import Hold
from tests.chaos.callers import Callers
from tests.chaos.separate import Separate
from tests.fakes.upstream import pool_toml

CALLERS = 32
LOOK_S = 0.05
KEY_NANO = 10**12


async def at_once(items: Iterable[Any], do: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """What comes of each item, CALLERS of them at a time; in no order."""
    todo, results = iter(items), []

    async def caller() -> None:
        for item in todo:
            results.append(await do(item))  # noqa: PERF401  several callers share the list

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return results


def cpu_s(deployment: Separate) -> float:
    """User and system seconds of all ledgers."""
    times = [psutil.Process(one.pid).cpu_times() for one in deployment.services.values()]
    return sum(one.user + one.system for one in times)


async def applied(deployment: Separate) -> int:
    """The books' position in the stream, and what they have ahead of it."""
    rows = await deployment.query(
        "SELECT COALESCE(SUM(applied_seq), 0) FROM stream_positions WHERE current "
        "UNION ALL SELECT COALESCE(SUM(last_seq - first_seq + 1), 0) FROM stream_ranges"
    )
    return sum(int(row[0]) for row in rows)


async def run(calls: int, keys: int, each: int, database: str, ledgers: int) -> None:
    """Prints both figures."""
    with Separate(database, pool_toml("http://127.0.0.1:9/v1"), ledgers=ledgers, calls=False) as deployment:
        async with Callers.of(deployment) as callers:
            await at_once(range(keys), lambda number: callers.key(f"key{number}", KEY_NANO))
            waits: list[float] = []

            async def authorise(number: int) -> Hold:
                began = time.perf_counter()
                reply = await callers.authorise(f"key{number % keys}")
                waits.append(time.perf_counter() - began)
                assert isinstance(reply, Hold), reply
                return reply

            used, start = cpu_s(deployment), time.perf_counter()
            holds = await at_once(range(calls), authorise)
            wall, used = time.perf_counter() - start, cpu_s(deployment) - used
            waits.sort()
            sys.stdout.write(
                f"authorise  {calls / wall:8.0f}/s  ledger {used / calls * 1e6:5.0f} us  "
                f"p50 {waits[calls // 2] * 1e3:.2f} ms  p99 {waits[calls * 99 // 100] * 1e3:.2f} ms\n"
            )
            for service in deployment.services.values():
                service.end(signal.SIGTERM)
            await at_once([holds[first : first + each] for first in range(0, calls, each)], callers.report)
        messages = -(-calls // each)
        for service in deployment.services.values():
            service.start()
        while not (first := await applied(deployment)):
            await asyncio.sleep(LOOK_S)
        used, start = cpu_s(deployment), time.perf_counter()
        while await applied(deployment) < messages:
            await asyncio.sleep(LOOK_S)
        wall, used = time.perf_counter() - start, cpu_s(deployment) - used
        settled = (messages - first) * each
        sys.stdout.write(f"settle     {settled / wall:8.0f}/s  ledger {used / settled * 1e6:5.0f} us\n")
        while not (proof := await asyncio.to_thread(deployment.audit)):
            await asyncio.sleep(LOOK_S)
        assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, calls, 0), proof


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--each", type=int, default=20, help="events in one message")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--ledgers", type=int, default=1)
    asyncio.run(run(**vars(parser.parse_args())))
