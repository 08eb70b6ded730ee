"""Measures the books by themselves: authorisations at 32 callers, then settlement of a full backlog.

python -m tests.ledger.bench.throughput [--calls N] [--keys N] [--url postgresql+asyncpg://…]

On tables that `tests.ledger.bench.filled` has filled it says whether they make it slower.
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from typing import Any

from prometheus_client import CollectorRegistry

from ledger.app import open_store
from ledger.commits.commit import Committer, Delivery
from ledger.commits.writer import Writer
from ledger.prices.offers import Catalogue
from ledger.telemetry import Telemetry
from schemas.bus.subjects import new_id
from schemas.bus.usage import Known, Outcome, Try, UsageEvent
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import TokenUsage
from schemas.verbs.base import VERSION
from schemas.verbs.calls import Authorise, Hold
from schemas.verbs.keys import KeyCreate
from tests.ledger.harness import command

CALLERS = 32
BATCH = 20  # events in one message


def small_event(request_id: str) -> UsageEvent:
    """The report of a small call."""
    usage = TokenUsage(input=100, output=50)
    return UsageEvent(
        request_id=request_id,
        attempt=1,
        worker_id="w",
        pool="openai",
        provider="openai",
        outcome=Outcome.OK,
        known=Known.REPORTED,
        usage=usage,
        tries=(
            Try(
                account="main",
                upstream="gpt-4o",
                outcome=Outcome.OK,
                status=200,
                known=Known.REPORTED,
                usage=usage,
            ),
        ),
    )


async def _ask(writer: Writer, request: Any) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writer.submit(command(request), future.set_result)
    return await future


async def run(calls: int, keys: int, url: str) -> None:
    """Prints both figures."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(url or f"sqlite:///{folder}/books.db")
        telemetry = Telemetry(CollectorRegistry())
        writer = Writer(Committer(store, Catalogue(BUILTIN), b"pepper", telemetry), telemetry)
        running = asyncio.create_task(writer.run())
        digests = [hashlib.sha256(f"{new_id()}".encode()).digest() for _ in range(keys)]
        await asyncio.gather(
            *(
                _ask(
                    writer,
                    KeyCreate(
                        v=1,
                        digest=digest,
                        name="",
                        profile="",
                        posted_nano=10**12,
                        providers=None,
                        playground=False,
                    ),
                )
                for digest in digests
            )
        )
        ids = [new_id() for _ in range(calls)]
        todo = iter(range(calls))
        cpu, start = time.process_time(), time.perf_counter()
        waits: list[float] = []

        async def caller() -> None:
            for index in todo:
                began = time.perf_counter()
                reply = await _ask(
                    writer,
                    Authorise(
                        v=VERSION,
                        request_id=ids[index],
                        digest=digests[index % keys],
                        model="gpt-4o",
                        prompt_max=300,
                        choices=1,
                        limit=100,
                    ),
                )
                waits.append(time.perf_counter() - began)
                assert isinstance(reply, Hold), reply

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        waits.sort()
        sys.stdout.write(
            f"authorise  {calls / wall:8.0f}/s  cpu {used / calls * 1e6:5.0f} us  p50 {waits[calls // 2] * 1e3:.2f} ms"
            f"  p99 {waits[calls * 99 // 100] * 1e3:.2f} ms\n"
        )
        left, identity = -(-calls // BATCH), new_id("bench_")
        finished = asyncio.Event()

        def done() -> None:
            nonlocal left
            left -= 1
            if not left:
                finished.set()

        cpu, start = time.process_time(), time.perf_counter()
        for number, first in enumerate(range(0, calls, BATCH)):
            writer.apply(
                Delivery(identity, number + 1, tuple(small_event(one) for one in ids[first : first + BATCH])),
                done,
            )
        await finished.wait()
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        sys.stdout.write(f"settle     {calls / wall:8.0f}/s  cpu {used / calls * 1e6:5.0f} us\n")
        writer.stop()
        await running
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.calls, arguments.keys, arguments.url))
