"""Streams that lose events: deleted (T5) or corrupted (T19) stores. What is lost shows as unsettled, and nothing else moves."""

import asyncio
import contextlib
import random
import shutil
import sys
from pathlib import Path

import pytest

from ledger.stream import jetstream
from ledger.stream.consumer import FLOOR_STILL_MAX_S
from ledger.stream.jetstream import ACK_WAIT_S
from runtime.bus.bus import BusError
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold
from tests.ledger.deployment import Deployment, admin, until
from tests.ledger.harness import USD, Books, billed, event

pytestmark = pytest.mark.timeout(1800)

SMALL = TokenUsage(input=80, output=40)
POSTED = 50 * USD


class Calls:
    """Calls of one key, and which of them have an event that the stream acknowledged."""

    def __init__(self, deployment: Deployment, dice: random.Random, name: str) -> None:
        self.deployment = deployment
        self.dice = dice
        self.name = name
        self.held: list[str] = []
        self.published: set[str] = set()
        self.late: set[str] = set()  # published after the accident

    async def begin(self, count: int) -> None:
        """Holds."""
        made = [f"{self.name}-{len(self.held) + number}" for number in range(count)]
        replies = await asyncio.gather(*(self.deployment.authorise(one, self.name) for one in made))
        assert all(isinstance(reply, Hold) for reply in replies)
        self.held += made

    async def end(self, count: int) -> None:
        """Events of calls that have none yet, in messages of several, each acknowledged by the stream."""
        open_calls = [one for one in self.held if one not in self.published][:count]
        while open_calls:
            part = [open_calls.pop() for _ in range(min(len(open_calls), self.dice.randint(1, 5)))]
            await self.deployment.publish(f"m-{part[0]}", *(event(one, SMALL) for one in part))
            self.published |= set(part)


async def rest(deployment: Deployment) -> None:
    """Everything that the stream has is in the books."""

    async def done() -> bool:
        with contextlib.suppress(BusError):
            proof = await deployment.audit()
            async with asyncio.timeout(5):
                last = await stream_last(deployment)
            return bool(proof["ok"] and proof["applied_seq"] == last)
        return False

    await until(done, "all of the stream is applied")


async def stream_last(deployment: Deployment) -> int:
    """The stream's last sequence."""
    async with admin(deployment) as bus:
        return (await jetstream.usage_stream(bus)).state.last_seq


async def closed(deployment: Deployment) -> None:
    """Leases run out; every hold ends."""
    deployment.clock.turn(31)
    # A message whose acknowledgement nats lost comes again, or is had again; nothing expires before.
    async with asyncio.timeout(FLOOR_STILL_MAX_S + ACK_WAIT_S + 15):
        while (await deployment.audit())["open_holds"]:
            await asyncio.sleep(0.05)


async def check(deployment: Deployment, key_id: str, calls: Calls, lost_most: int) -> int:
    """Each call is billed once or counted as expired; the balance is what the bills make it. Returns how many expired."""
    proof = await deployment.audit()
    assert proof["ok"], proof["findings"]
    rows = {row["request_id"]: row for row in await Books(deployment.store, deployment.clock).usage(key_id)}
    assert rows.keys() == set(calls.held)
    expired = {name for name, row in rows.items() if row["outcome"] == "expired"}
    assert set(calls.held) - calls.published <= expired, "a call was billed that has no event"
    assert len(expired & calls.published) <= lost_most
    assert not expired & calls.late, "an event of a sound stream was not applied"
    for name, row in rows.items():
        assert row["billed_nano"] == (0 if name in expired else billed(SMALL)), row
    assert await deployment.posted(key_id) == POSTED - (len(rows) - len(expired)) * billed(SMALL)
    return len(expired & calls.published)


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
async def test_lost_streams(deployment: Deployment, times: int) -> None:
    """T5: calls in flight, the store deleted while nats is down: what was not applied expires and is counted, calls go on."""
    await deployment.start()
    for turn in range(times):
        calls = Calls(deployment, random.Random(turn), f"key{turn}")
        key_id = await deployment.key(calls.name, POSTED)
        await calls.begin(40)
        await calls.end(20)
        deployment.server.kill()
        shutil.rmtree(deployment.server.store)
        deployment.server.start()

        async def noticed(turn: int = turn) -> bool:
            with contextlib.suppress(BusError):
                return bool((await deployment.audit())["streams_lost"] == turn + 1)
            return False

        await until(noticed, "the audit says that the stream was lost")
        await calls.begin(10)
        await calls.end(10)
        await rest(deployment)
        await closed(deployment)
        await check(deployment, key_id, calls, lost_most=20)


def corrupt(store: Path, dice: random.Random) -> str:
    """Cuts 1 to 4,096 bytes off the newest block of the usage stream, or flips one bit of it. Says what it did."""
    block = max(store.rglob("USAGE/msgs/*.blk"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(block.read_bytes())
    if dice.random() < 0.5:
        cut = min(dice.randint(1, 4_096), len(data))
        block.write_bytes(data[:-cut])
        return f"{cut} of {len(data)} bytes cut"
    bit = dice.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    block.write_bytes(data)
    return f"bit {bit} of {len(data) * 8} flipped"


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.long)])
async def test_corrupted_streams(
    deployment: Deployment, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """T19: whatever the corruption took, I1 and I2 hold, losses are expired holds, and later events are applied."""
    await deployment.start()
    for turn in range(times):
        dice = random.Random(turn)
        calls = Calls(deployment, dice, f"key{turn}")
        key_id = await deployment.key(calls.name, POSTED)
        await calls.begin(40)
        await calls.end(15)
        await rest(deployment)
        away = dice.random() < 0.5  # the ledger is away: what comes now waits in the stream
        if away:
            await deployment.stop()
        await calls.end(10)
        (deployment.server.kill if dice.random() < 0.5 else deployment.server.stop)()
        what = corrupt(deployment.server.store, dice)
        deployment.server.start()
        if away:
            await publish_late(calls)
            await deployment.start()
        else:
            await until(deployment.answers, "a ledger answers")
            await publish_late(calls)
        await rest(deployment)
        await closed(deployment)
        lost = await check(deployment, key_id, calls, lost_most=25)
        with capsys.disabled():
            where = "away" if away else "there"
            sys.stdout.write(f"\n{turn}: {what}, ledger {where}: {lost} events lost")


async def publish_late(calls: Calls) -> None:
    """More events, at once after the restart: the stream is sound again, so they must be billed."""
    before = set(calls.published)

    async def accepted() -> bool:
        with contextlib.suppress(BusError):
            await calls.end(10)
            return True
        return False

    await until(accepted, "the stream takes events")
    calls.late |= calls.published - before
