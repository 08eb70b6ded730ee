"""The stream may lie: replays, restored books, lost streams, poison, and several ledgers on one database."""

import asyncio
import contextlib
import shutil

import pytest

from runtime.bus.bus import BusError
from schemas.bus import subjects
from schemas.bus.subjects import Role
from schemas.bus.usage import UsageBatch, encode_batch
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import USD, billed, event

SMALL = TokenUsage(input=80, output=40)


async def test_a_call_is_paid(deployment: Deployment) -> None:
    """From the hold to the bill over the bus; a stopped ledger finds what came meanwhile."""
    await deployment.start()
    key_id = await deployment.key()
    assert isinstance(await deployment.authorise("r1"), Hold)
    assert isinstance(await deployment.authorise("r2"), Hold)
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.start()
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))
    assert (await deployment.audit())["ok"]


async def test_restored_books_are_caught_up(deployment: Deployment) -> None:
    """If the books are behind what was acknowledged, the audit says so and the consumer replays from there."""
    await deployment.start()
    key_id = await deployment.key()
    for name in ("r1", "r2"):
        await deployment.authorise(name)
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    # The books as a backup from before the first event has them.
    async with deployment.store.write() as tx:
        hold = await tx.fetch("SELECT amount_nano FROM holds WHERE request_id = $1", "r1")
        await tx.execute("DELETE FROM usage")
        await tx.execute("DELETE FROM transfers WHERE kind IN ('charge', 'cost')")
        await tx.execute(
            "UPDATE holds SET state = 'open', held_nano = amount_nano, closed_ms = 0 WHERE request_id = $1",
            "r1",
        )
        await tx.execute("UPDATE accounts SET posted_nano = 0 WHERE id IN ('revenue', 'cost_of_goods')")
        await tx.execute(
            "UPDATE accounts SET posted_nano = $2, held_nano = $3, spent_nano = 0 WHERE id = $1",
            f"key:{key_id}",
            50 * USD,
            2 * hold[0][0],
        )
        await tx.execute(
            "UPDATE accounts SET posted_nano = $2 WHERE id = $1", "upstream:openai:main", 1000 * USD
        )
        await tx.execute("UPDATE stream_positions SET applied_seq = 0")
    await deployment.start()
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))

    async def sound() -> bool:
        return bool((await deployment.audit())["ok"])

    await until(sound, "the audit passes")


async def test_a_lost_stream(deployment: Deployment) -> None:
    """T5, small: the stream is lost; the audit counts it, holds expire by rule, nothing is below zero, calls go on."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.authorise("lost")
    deployment.server.kill()
    shutil.rmtree(deployment.server.store)
    deployment.server.start()

    async def noticed() -> bool:
        with contextlib.suppress(BusError):
            return bool((await deployment.audit())["streams_lost"] == 1)
        return False

    await until(noticed, "the audit says that the stream was lost")
    deployment.clock.turn(31)

    async def expired() -> bool:
        return bool((await deployment.audit())["expired"] == 1)

    await until(expired, "the hold expires")
    await deployment.authorise("r2")
    await deployment.publish("m1", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))
    assert (await deployment.audit())["ok"]


async def test_poison_is_parked(deployment: Deployment) -> None:
    """A message that nobody can read is put aside, once, and what follows it is applied."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    usage_bus = deployment.buses[Role.USAGE]
    await usage_bus.js_publish(subjects.usage("openai"), b"\xc1 nonsense", "m0", 5.0)
    await usage_bus.js_publish(subjects.usage("openai"), encode_batch(UsageBatch(99, ())), "m1", 5.0)
    await deployment.publish("m2", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["parked"], proof["applied_seq"]) == (True, 2, 3)


async def test_nothing_expires_before_its_event_is_applied(deployment: Deployment) -> None:
    """A bill that waits in the stream while the ledger is down is billed, though the lease ran out meanwhile."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.stop()
    await deployment.publish("m1", event("r1", SMALL))
    deployment.clock.turn(600)
    await deployment.start()
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["expired"], proof["open_holds"]) == (True, 0, 0)


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_several_ledgers_share_the_books(deployment: Deployment) -> None:
    """Two ledgers on one PostgreSQL, one hot key and many others: no deadlock, each call once, positions agree."""
    await deployment.start()
    await deployment.start()
    hot = await deployment.key("hot", 500 * USD)
    for number in range(20):
        await deployment.key(f"key{number}")

    async def call(number: int) -> None:
        name = f"c{number}"
        key = "hot" if number % 2 else f"key{number % 20}"
        assert isinstance(await deployment.authorise(name, key), Hold)
        await deployment.publish(f"m{number}", event(name, SMALL), event(name, SMALL))
        await deployment.publish(f"again{number}", event(name, SMALL))

    await asyncio.gather(*(call(number) for number in range(200)))
    await deployment.settled(hot, 500 * USD - 100 * billed(SMALL))

    async def done() -> bool:
        return await deployment.applied() == 400

    await until(done, "all is applied, with no gap left")
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, 200, 0)
    assert await deployment.store.fetch("SELECT * FROM stream_ranges") == []
