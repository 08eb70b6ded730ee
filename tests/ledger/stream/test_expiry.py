"""The guards before a hold ends by its lease: a time that was slept through, and events that came in the meantime."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ledger.stream.consumer import Consumer
from ledger.stream.expiry import SLEPT_MS, Expiry
from runtime.bus.bus import Bus
from schemas.bus.subjects import Role
from schemas.money.pricing import TokenUsage
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=80, output=40)
LEASE_S = 60.0  # beyond any lease


class Still:
    """A ledger's parts of which nothing moves but by the test: no pull, no watch, no look at leases."""

    def __init__(self, bus: Bus, books: Books, quiet_s: float) -> None:
        self.books = books
        self.consumer = Consumer(bus, books.start(), books.telemetry)
        self.expiry = Expiry(bus, books.writer, self.consumer, quiet_s)

    async def look(self, times: int = 4) -> int:
        """Watches the stream and looks at leases, some times in turn; how many holds ended."""
        ended = 0
        for _ in range(times):
            ended += await self.expiry.step()
            await self.consumer.watch()
        return ended


@contextlib.asynccontextmanager
async def still(deployment: Deployment, quiet_s: float) -> AsyncIterator[Still]:
    """One, on the deployment's database and server."""
    bus = await Bus.connect(deployment.server.settings(), Role.LEDGER, name="still", on_closed=lambda: None)
    books = await Books.open(await deployment.source.again(), deployment.clock)
    made = Still(bus, books, quiet_s)
    await made.consumer.start()

    async def begun() -> bool:
        return not made.expiry.quiet()

    await until(begun, "the quiet time after the start is over")
    yield made
    await bus.close()
    await books.close()


async def test_a_time_that_was_slept_through(deployment: Deployment) -> None:
    """After a sleep all leases are over at once, connections whole: calls have the quiet time to renew them; then they end."""
    async with still(deployment, quiet_s=0.5) as one:
        key_id = await one.books.key(nano=50 * USD)
        hold = await one.books.hold("r1")
        await one.books.hold("r2")
        assert await one.look() == 0
        deployment.clock.turn(3_600)
        assert await one.look() == 0
        await one.books.committer.renew({"r1"})

        async def over() -> bool:
            return not one.expiry.quiet()

        await until(over, "the quiet time is over")
        assert await one.look() == 1
        assert await one.books.balance(key_id) == (50 * USD, hold.amount_nano)
        for _ in range(int(LEASE_S * 1000 // SLEPT_MS) + 1):
            deployment.clock.turn(SLEPT_MS / 1000)
            await one.look(1)
        await one.look()
        assert await one.books.balance(key_id) == (50 * USD, 0)


async def test_what_came_while_the_clock_was_asked_counts(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that comes between a look at the stream and the moment that leases are compared with is waited for."""
    async with still(deployment, quiet_s=0.0) as one:
        key_id = await one.books.key(nano=50 * USD)
        await one.books.hold("r1")
        real = one.books.writer.between
        first = True

        async def between(errand: Callable[[], Awaitable[Any]]) -> Any:
            nonlocal first
            if first:
                first = False
                await asyncio.sleep(0.01)  # so that the clocks differ
                await one.consumer.watch()
                await deployment.publish("m1", event("r1", SMALL))
                deployment.clock.turn(LEASE_S)
            return await real(errand)

        monkeypatch.setattr(one.books.writer, "between", between)
        assert await one.expiry.step() == 0
        assert await one.look() == 0
        pulling = asyncio.create_task(one.consumer.run())

        async def paid() -> bool:
            return await one.books.balance(key_id) == (50 * USD - billed(SMALL), 0)

        await until(paid, "the event is billed")
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
