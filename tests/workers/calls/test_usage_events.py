"""Metering on a real stream: grouped, durable before the end, retried until acknowledged, billed once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from nats.js import JetStreamContext

from runtime.bus.bus import BusError, PayloadTooLarge
from runtime.settings.settings import PoolSettings
from schemas.bus import subjects
from schemas.bus.frames import End
from schemas.bus.usage import (
    EVENTS_PER_MESSAGE_MAX,
    VERSION,
    Known,
    Outcome,
    UsageBatch,
    UsageEvent,
    decode_batch,
)
from schemas.errors import NOT_RECORDED
from schemas.money.pricing import TokenUsage
from schemas.verbs import calls as call_verbs
from tests.fakes.openai import FakeOpenAI, Reply, answer
from tests.fakes.worker import Rig, account, job, rig, until
from workers.calls import usage_events as publisher_module
from workers.calls.usage_events import UsagePublisher

BODY: dict[str, Any] = {"model": "m", "messages": []}


class Recorder:
    """A bus that stores what it is told to, or fails."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, UsageBatch]] = []
        self.failures = 0
        self.bytes_max = 1_000_000
        self.gate = asyncio.Event()
        self.gate.set()

    async def js_publish(self, subject: str, data: bytes, msg_id: str, timeout_s: float) -> None:
        """Stores one message."""
        assert subject.startswith("usage.")
        assert timeout_s > 0
        await self.gate.wait()
        if len(data) > self.bytes_max:
            raise PayloadTooLarge("too large")
        self.messages.append((msg_id, decode_batch(data)))
        if self.failures:
            self.failures -= 1
            raise BusError("lost")


def event(number: int) -> UsageEvent:
    return UsageEvent(f"r{number}", 1, "w", "p", "openai", Outcome.OK, Known.REPORTED)


async def test_events_that_wait_go_together() -> None:
    """What comes up during a publish goes in the next message, 64 at most, each event once."""
    bus = Recorder()
    bus.gate.clear()
    publisher = UsagePublisher(bus, "p", "w")
    first = publisher.submit(event(0))
    await asyncio.sleep(0)
    rest = [publisher.submit(event(number)) for number in range(1, 150)]
    bus.gate.set()
    assert await first
    assert all(await asyncio.gather(*rest))
    sizes = [len(batch.events) for _, batch in bus.messages]
    assert sizes == [1, EVENTS_PER_MESSAGE_MAX, EVENTS_PER_MESSAGE_MAX, 21]
    assert len({msg_id for msg_id, _ in bus.messages}) == 4
    assert publisher.unacked == 0


async def test_a_batch_carries_the_version_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker writes is what a ledger compares with: one version for this kind of message."""
    bus = Recorder()
    publisher = UsagePublisher(bus, "p", "w")
    assert await publisher.submit(event(0))
    monkeypatch.setattr(publisher_module, "VERSION", VERSION + 1)
    assert await publisher.submit(event(1))
    assert [batch.v for _, batch in bus.messages] == [VERSION, VERSION + 1]


async def test_events_that_do_not_fit_into_one_message_go_apart() -> None:
    """Large events together exceed a message's bound: they go in smaller ones, and hold nobody up."""
    bus = Recorder()
    bus.bytes_max = 3_000
    publisher = UsagePublisher(bus, "p", "w")
    large = [msgspec.structs.replace(event(number), uplifts=("x" * 1_000,)) for number in range(5)]
    done = [publisher.submit(one) for one in (*large, event(5))]
    assert all(await asyncio.wait_for(asyncio.gather(*done), 5))
    sent = [one.request_id for _, batch in bus.messages for one in batch.events]
    assert sent == [f"r{number}" for number in range(6)]
    assert len({msg_id for msg_id, _ in bus.messages}) == len(bus.messages)


async def test_an_event_that_can_never_be_sent_holds_nobody_up() -> None:
    """An event that cannot be written at all is lost and said to be; all others are recorded."""
    publisher = UsagePublisher(bus := Recorder(), "p", "w")
    mad = msgspec.structs.replace(event(1), usage=TokenUsage(input=1 << 70))
    huge = msgspec.structs.replace(event(2), uplifts=("x" * 2_000_000,))
    bus.bytes_max = 1_000_000
    done = [publisher.submit(one) for one in (event(0), mad, huge, event(3))]
    assert await asyncio.wait_for(asyncio.gather(*done), 5) == [True, False, False, True]
    assert [one.request_id for _, batch in bus.messages for one in batch.events] == ["r0", "r3"]
    assert publisher.unacked == 0


async def test_retries_are_the_same_message(monkeypatch: Any) -> None:
    """An unacknowledged message is sent again under its id, unchanged, though more events wait by then."""
    monkeypatch.setattr(publisher_module, "RETRY_MIN_S", 0.01)
    bus = Recorder()
    bus.failures = 3
    publisher = UsagePublisher(bus, "p", "w")
    done = publisher.submit(event(0))
    await until(lambda: len(bus.messages) == 1, "the first try")
    later = publisher.submit(event(1))
    assert await done
    assert await later
    assert bus.messages[0] == bus.messages[1] == bus.messages[2] == bus.messages[3]
    assert [item.request_id for item in bus.messages[4][1].events] == ["r1"]


async def test_a_caller_does_not_wait_for_ever(monkeypatch: Any) -> None:
    """After ACK_WAIT_S the call is told that its bill is not durable; the event is still published."""
    monkeypatch.setattr(publisher_module, "ACK_WAIT_S", 5.0)
    bus = Recorder()
    bus.gate.clear()
    publisher = UsagePublisher(bus, "p", "w")
    future = publisher.submit(event(0))
    publisher.tick(asyncio.get_running_loop().time() - 60)
    assert not future.done()
    publisher.tick(asyncio.get_running_loop().time() + 60)
    assert await future is False
    assert publisher.unacked == 1
    bus.gate.set()
    assert await publisher.drain(2) == 0
    assert len(bus.messages) == 1


async def test_full_buffer_stops_jobs(monkeypatch: Any) -> None:
    """Beyond its bound the publisher is full, until events are acknowledged."""
    monkeypatch.setattr(publisher_module, "EVENTS_WAITING_MAX", 3)
    bus = Recorder()
    bus.gate.clear()
    publisher = UsagePublisher(bus, "p", "w")
    for number in range(3):
        publisher.submit(event(number))
    assert publisher.full
    bus.gate.set()
    publisher.submit(event(9))
    assert await publisher.drain(2) == 0
    assert not publisher.full
    assert sorted({item.request_id for _, batch in bus.messages for item in batch.events}) == [
        "r0",
        "r1",
        "r2",
        "r9",
    ]


async def test_bill_survives_a_restart_of_nats() -> None:
    """Calls that end while NATS is away: no end frame before the bill is stored, then both, each once."""
    gate = asyncio.Event()
    async with FakeOpenAI(
        lambda received: Reply(pieces=answer(received).pieces, before=[gate], length=True)
    ) as fake:
        pool = (PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),)),)
        async with rig(pool) as made:
            offered = [made.edge.offer(job(BODY)) for _ in range(8)]
            await until(lambda: len(fake.received) == 8, "the calls")
            made.server.kill()
            gate.set()
            await until(lambda: all(item.written for item in fake.received), "the answers")
            assert not any(isinstance(item.last, End) for item in offered)
            made.server.start()
            for item in offered:
                assert isinstance((await item.end()).last, End)
                assert not item.gap


async def test_pools_of_one_worker_never_share_a_message_id() -> None:
    """The stream stores a message id once: the first bills of two pools of one process must both be kept."""
    bus = Recorder()
    publishers = [UsagePublisher(bus, pool, "w") for pool in ("p", "q")]
    for publisher in publishers:
        assert await publisher.submit(event(1))
    assert len({msg_id for msg_id, _ in bus.messages}) == 2


async def test_an_event_that_waits_keeps_its_hold(monkeypatch: Any) -> None:
    """The stream takes nothing: the caller is told, and the call's lease is renewed until its event is stored after all."""
    monkeypatch.setattr(publisher_module, "ACK_WAIT_S", 0.3)
    monkeypatch.setattr(publisher_module, "RETRY_MAX_S", 0.2)
    monkeypatch.setattr(call_verbs, "RENEW_INTERVAL_S", 0.1)
    async with FakeOpenAI() as fake:
        pool = (PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),)),)
        async with rig(pool) as made, admin(made) as stream:
            kept = (await stream.stream_info(subjects.USAGE_STREAM)).config
            await stream.update_stream(kept.evolve(max_msg_size=1))
            call = job(BODY)
            ended = await made.edge.call(call)
            assert ended.failed.error.code == NOT_RECORDED
            before = len(made.ledger.renewed)
            await until(lambda: made.ledger.renewed[before:].count(call.request_id) > 3, "renewals")
            await stream.update_stream(kept)
            async with asyncio.timeout(5):
                while made.ledger.renewed:
                    made.ledger.renewed.clear()
                    await asyncio.sleep(3 * call_verbs.RENEW_INTERVAL_S)
            (stored,) = decode_batch((await stream.get_msg(subjects.USAGE_STREAM, 1)).data).events
            assert stored.request_id == call.request_id


async def test_a_pool_that_is_named_twice_is_one() -> None:
    """`tokn worker openai openai`: every call's event is in the stream."""
    async with FakeOpenAI() as fake:
        pool = (PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),)),) * 2
        async with rig(pool) as made, admin(made) as stream:
            calls = [job(BODY) for _ in range(40)]
            ends = await asyncio.gather(*(made.edge.call(one) for one in calls))
            assert all(isinstance(one.last, End) for one in ends)
            state = (await stream.stream_info(subjects.USAGE_STREAM)).state
            stored = [
                await stream.get_msg(subjects.USAGE_STREAM, number) for number in range(1, state.last_seq + 1)
            ]
            found = [one.request_id for item in stored for one in decode_batch(item.data).events]
            assert sorted(found) == sorted(one.request_id for one in calls)


@contextlib.asynccontextmanager
async def admin(made: Rig) -> AsyncIterator[JetStreamContext]:
    """JetStream, with every right."""
    link, _ = await made.server.client("admin")
    try:
        yield link.jetstream()
    finally:
        await link.close()
