"""T7 over the whole path on PostgreSQL: money for ten holds, 200 calls of all dialects at once, two edges, two ledgers that share the books."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

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
    """Reads the books all the time, past the ledgers; remembers of all commits that it saw the lowest amount available, and the highest beyond a cap."""

    def __init__(self, deployment: Separate) -> None:
        self.lowest_nano = self.highest_nano = 0
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
                beyond = await link.fetchval(
                    "SELECT MAX(spent_nano + held_nano - ceiling_nano) FROM cap_periods"
                )
                self.highest_nano = max(self.highest_nano, beyond or 0)
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
    """Exactly ten of 200 at two edges pass in each round, whether a balance or a cap ends there, and the books balance."""
    with (
        Upstream() as upstream,
        Separate("postgresql", ways_toml(upstream.base_url), ledgers=2, served=POOLS, edges=2) as deployment,
    ):
        async with session() as client:
            probe = deployment.key("10")
            (first,) = racers_of(1, client, deployment.url, probe["key"])
            await until(lambda: upstream.waiting == 1, 20, "the probe waits at the gate")
            hold_nano = (await account(deployment, probe["id"]))[1]
            upstream.open_gate()
            assert (await first).complete
            # What the rounds spend is on top, and less than one hold: each round finds money for exactly ten.
            nano = hold_nano * AFFORDED + rounds * AFFORDED * CHARGE_NANO
            assert rounds * AFFORDED * CHARGE_NANO < hold_nano
            usd = f"{nano // USD}.{nano % USD:09}"
            poor = deployment.key(usd)
            organization = [deployment.key("1000", "--profile", "acme") for _ in range(5)]
            deployment.command("cap", "create", usd, "--period", "total", "--organization", "acme")
            watch = Watch(deployment)
            async with watch.watching():
                for keys in ([poor], organization):
                    for _ in range(rounds):
                        await race(deployment, client, upstream, keys, hold_nano)
        assert watch.reads > rounds
        assert watch.lowest_nano >= 0
        assert watch.highest_nano <= 0
        assert await account(deployment, poor["id"]) == (hold_nano * AFFORDED, 0)
        (period,) = await deployment.query("SELECT spent_nano, held_nano FROM cap_periods")
        assert tuple(period) == (rounds * AFFORDED * CHARGE_NANO, 0)
        proof = await asyncio.to_thread(deployment.audit)
        calls = 2 * rounds * AFFORDED + 1
        assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, calls, 0), proof


async def account(deployment: Separate, *key_ids: str) -> tuple[int, int]:
    """What some keys have, and what is held of it."""
    ids = ", ".join(f"'key:{key_id}'" for key_id in key_ids)
    sql = f"SELECT SUM(posted_nano), SUM(held_nano) FROM accounts WHERE id IN ({ids})"
    ((posted, held),) = await deployment.query(sql)
    return int(posted), int(held)


async def race(
    deployment: Separate, client: Any, upstream: Upstream, keys: list[dict[str, Any]], hold_nano: int
) -> None:
    """One round: the racers of all keys at both edges, ten of which wait at the upstream's gate."""
    ids = [key["id"] for key in keys]
    places = [(url, key["key"]) for url in deployment.urls for key in keys]
    racers = [racer for url, key in places for racer in racers_of(RACERS // len(places), client, url, key)]
    refused = RACERS - AFFORDED
    await until(lambda: sum(racer.done() for racer in racers) >= refused, 30, "all but ten are decided")
    await until(lambda: upstream.waiting == AFFORDED, 20, "ten wait at the gate")
    assert (await account(deployment, *ids))[1] == hold_nano * AFFORDED
    upstream.open_gate()
    statuses = sorted(one.status for one in await asyncio.gather(*racers))
    assert statuses == [200] * AFFORDED + [402] * refused
    async with asyncio.timeout(10):
        while (await account(deployment, *ids))[1]:
            await asyncio.sleep(0.01)
