"""T7 over the whole path on PostgreSQL: money for ten holds, 200 calls of all dialects at once, two ledgers that share the books."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.chaos.separate import Separate
from tests.fakes.caller import session, until
from tests.fakes.upstream import Upstream
from tests.fakes.ways import POOLS, racers_of, ways_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800)]

RACERS, AFFORDED = 200, 10
CHARGE_NANO = 1_500 + 6_000  # one token in, one out, at the price of `pool_toml`'s model
USD = 1_000_000_000


class Watch:
    """Reads the books all the time, past the ledgers; remembers the lowest available amount of any commit it saw."""

    def __init__(self, deployment: Separate) -> None:
        self.lowest_nano = 0
        self.reads = 0
        assert deployment.postgres is not None
        self._url = deployment.postgres.url("postgres").replace("+asyncpg", "")

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watches during a block."""
        link = await asyncpg.connect(self._url)

        async def watch() -> None:
            while True:
                lowest = await link.fetchval(
                    "SELECT MIN(posted_nano - held_nano) FROM accounts WHERE kind IN ('metered', 'playground')"
                )
                self.lowest_nano = min(self.lowest_nano, lowest)
                self.reads += 1
                await asyncio.sleep(0.005)

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await link.close()


@pytest.mark.parametrize("rounds", [3, pytest.param(500, marks=pytest.mark.long)])
async def test_money_for_ten_admits_exactly_ten(rounds: int) -> None:
    """Exactly ten of 200 pass in each round, the others get 402, available is never below zero, and the books balance."""
    with (
        Upstream() as upstream,
        Separate("postgresql", ways_toml(upstream.base_url), ledgers=2, served=POOLS) as deployment,
    ):

        async def account(key_id: str) -> tuple[int, int]:
            ((posted, held),) = await deployment.query(
                f"SELECT posted_nano, held_nano FROM accounts WHERE id = 'key:{key_id}'"
            )
            return posted, held

        async with session() as client:
            probe = deployment.key("10")
            (first,) = racers_of(1, client, deployment.url, probe["key"])
            await until(lambda: upstream.waiting == 1, 20, "the probe waits at the gate")
            hold_nano = (await account(probe["id"]))[1]
            upstream.open_gate()
            assert (await first).complete
            # What the rounds spend is on top, and less than one hold: each round finds money for exactly ten.
            nano = hold_nano * AFFORDED + rounds * AFFORDED * CHARGE_NANO
            assert rounds * AFFORDED * CHARGE_NANO < hold_nano
            key = deployment.key(f"{nano // USD}.{nano % USD:09}")
            watch = Watch(deployment)
            async with watch.watching():
                for number in range(rounds):
                    racers = racers_of(RACERS, client, deployment.url, key["key"])
                    await until(
                        lambda racers=racers: sum(racer.done() for racer in racers) >= RACERS - AFFORDED,
                        30,
                        "all but ten are decided",
                    )
                    await until(lambda: upstream.waiting == AFFORDED, 20, "ten wait at the gate")
                    assert (await account(key["id"]))[1] == hold_nano * AFFORDED
                    upstream.open_gate()
                    statuses = sorted(one.status for one in await asyncio.gather(*racers))
                    assert statuses == [200] * AFFORDED + [402] * (RACERS - AFFORDED), number
                    async with asyncio.timeout(10):
                        while (await account(key["id"]))[1]:
                            await asyncio.sleep(0.01)
        assert watch.reads > rounds
        assert watch.lowest_nano >= 0
        assert await account(key["id"]) == (hold_nano * AFFORDED, 0)
        proof = await asyncio.to_thread(deployment.audit)
        assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, rounds * AFFORDED + 1, 0), proof
