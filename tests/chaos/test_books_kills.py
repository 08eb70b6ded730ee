"""Owns `kill -9` under load of what keeps the books: ledgers, nats-server, PostgreSQL. No call is billed twice or lost."""

import asyncio
import json
import sys
import time

import pytest

from tests.chaos.pressure import Pressure
from tests.chaos.separate import Separate
from tests.fakes.caller import body, call, session
from tests.fakes.upstream import Upstream
from tests.fakes.ways import POOLS, ways_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SHORT_S, LONG_S = 6.0, 60.0
BACK_WITHIN_S = 15.0
seeds = pytest.mark.parametrize(
    ("seed", "load_s"),
    [(0, SHORT_S), *(pytest.param(seed, LONG_S, marks=pytest.mark.long) for seed in range(1, 11))],
)


async def strike_ledger(deployment: Separate, pressure: Pressure) -> None:
    """One ledger, any of those there are; it comes back a moment later."""
    names = [name for name in deployment.services if name.startswith("ledger")]
    name = pressure.dice.choice(names)
    await asyncio.to_thread(deployment.kill, name)
    await asyncio.sleep(pressure.dice.choice([0.0, 0.1, 1.0]))
    deployment.services[name].start()
    pressure.faults[name] += 1


async def strike_nats(deployment: Separate, pressure: Pressure) -> None:
    """The bus and its stream; it comes back a moment later."""
    await asyncio.to_thread(deployment.nats.kill)
    await asyncio.sleep(pressure.dice.choice([0.0, 0.1, 1.0]))
    await asyncio.to_thread(deployment.nats.start)
    pressure.faults["nats-server"] += 1


async def strike_postgres(deployment: Separate, pressure: Pressure) -> None:
    """One process of PostgreSQL, at which it recovers as after a crash; or all of it, stopped at once and started."""
    assert deployment.postgres is not None
    if pressure.dice.random() < 0.5 and await asyncio.to_thread(deployment.kill_backend):
        pressure.faults["a backend"] += 1
    else:
        await asyncio.to_thread(deployment.postgres.restart)
        pressure.faults["postgresql"] += 1


FAULTS = {
    "ledger": (strike_ledger, "sqlite", 1),
    "nats-server": (strike_nats, "sqlite", 1),
    "postgresql": (strike_postgres, "postgresql", 1),
    "one of two ledgers": (strike_ledger, "postgresql", 2),
}


@pytest.mark.parametrize("fault", FAULTS)
@seeds
async def test_killed_under_load(fault, seed, load_s, capsys):
    """Each id is billed once at most, each complete call once at the upstream's figures, every upstream call is explained."""
    strike, database, ledgers = FAULTS[fault]
    with (
        Upstream() as upstream,
        Separate(database, ways_toml(upstream.base_url), ledgers=ledgers, served=POOLS) as deployment,
    ):
        key = await asyncio.to_thread(deployment.key, "100", "--cap", "day=100", "--cap", "total=100")
        pressure = Pressure(deployment, upstream, key["key"], seed)
        async with session() as client:
            load = asyncio.create_task(pressure.run(client, load_s))
            interval_s = (1.0, 2.0) if load_s == SHORT_S else (2.0, 5.0)
            end = time.monotonic() + load_s - 1.0
            while (pause_s := pressure.dice.uniform(*interval_s)) < end - time.monotonic():
                await asyncio.sleep(pause_s)
                await strike(deployment, pressure)
            if not pressure.faults:
                await strike(deployment, pressure)
            await load
            await back_to_work(deployment, key["key"], client)
        report = await pressure.books_close()
    with capsys.disabled():
        sys.stdout.write(f"\n{fault}: {json.dumps(report)}\n")
    assert report["outcomes"]["complete"] > 0


async def back_to_work(deployment: Separate, key: str, client) -> None:
    """A call succeeds soon after the last fault."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while not (seen := await call(client, deployment.url, key, body("after", words=2))).complete:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.1)
