"""Owns two ledger processes on one PostgreSQL: one hot key, many keys; no deadlock, no overdraft, each call once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from schemas.verbs.calls import Hold
from tests.chaos.callers import BILLED_NANO, Callers
from tests.chaos.separate import Separate
from tests.fakes.tokn import wait_for
from tests.fakes.upstream import pool_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

CALLERS = 200
ADMITTED = 10
USD = 1_000_000_000


@pytest.fixture(scope="module")
def deployment() -> Iterator[Separate]:
    """Two ledgers and nothing else."""
    with Separate("postgresql", pool_toml("http://127.0.0.1:9/v1"), ledgers=2, calls=False) as running:
        both_listen(running)
        yield running


@pytest.fixture
async def callers(deployment: Separate) -> AsyncIterator[Callers]:
    """A connection of each role."""
    async with Callers.of(deployment) as made:
        yield made


def both_listen(deployment: Separate) -> None:
    """Waits until each ledger has said that it is ready."""
    wait_for(
        lambda: all('"event":"ready"' in deployment.said(name) for name in deployment.services),
        30,
        "both ledgers are ready",
    )


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_two_ledgers(callers: Callers, rounds: int) -> None:
    """200 callers at once on money for ten holds, then on 200 keys: exactly ten, then all; every call is billed once."""
    probe = await callers.key("probe", USD)
    hold = await callers.authorise("probe")
    amount = hold.amount_nano
    await callers.end(hold)
    await callers.settled(probe, USD - BILLED_NANO)
    keys = [await callers.key(f"key{number}", 1_000 * USD) for number in range(CALLERS)]
    for turn in range(rounds):
        name = f"hot{turn}"
        hot = await callers.key(name, ADMITTED * amount + amount - 1)
        replies = await asyncio.gather(*(callers.authorise(name) for _ in range(CALLERS)))
        holds = [reply for reply in replies if isinstance(reply, Hold)]
        assert len(holds) == ADMITTED
        assert await callers.balance(hot) == (11 * amount - 1, 10 * amount)
        others = await asyncio.gather(*(callers.authorise(f"key{number}") for number in range(CALLERS)))
        assert all(isinstance(reply, Hold) for reply in others)
        await asyncio.gather(*(callers.end(one) for one in (*holds, *others)))
        await callers.settled(hot, 11 * amount - 1 - ADMITTED * BILLED_NANO)
    for key_id in keys:
        await callers.settled(key_id, 1_000 * USD - rounds * BILLED_NANO)
    ((deadlocks,),) = await callers.deployment.query(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0
    proof = await asyncio.to_thread(callers.deployment.audit)
    assert (proof["ok"], proof["calls"]) == (True, rounds * (ADMITTED + CALLERS) + 1), proof
    assert (proof["open_holds"], proof["uncollected_nano"]) == (0, 0)


async def test_one_hot_key(callers: Callers) -> None:
    """200 callers call one key again and again while both ledgers settle it: its balance is exact to the nano-dollar."""
    hot = await callers.key("hot", 1_000 * USD)
    before = (await asyncio.to_thread(callers.deployment.audit))["calls"]

    async def caller() -> None:
        for _ in range(3):
            await callers.end(await callers.authorise("hot"))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await callers.settled(hot, 1_000 * USD - 3 * CALLERS * BILLED_NANO)
    proof = await asyncio.to_thread(callers.deployment.audit)
    assert (proof["ok"], proof["calls"]) == (True, before + 3 * CALLERS), proof
