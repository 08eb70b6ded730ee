"""A worker on the bus: who gets its jobs, what a restart of NATS does, who notices whose death, and how it stops."""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from runtime.bus.bus import Bus, BusTimeout, NoResponders
from runtime.settings.settings import PoolSettings
from schemas.bus import subjects
from schemas.bus.frames import FRAME_BYTES_MAX, Accept, AccountState, Alive, Bounce, End, Probe, encode
from schemas.bus.subjects import Role
from schemas.bus.usage import Known, Outcome, decode_batch
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes.estimated import output_tokens, prompt_tokens
from tests.fakes.openai import FakeOpenAI, Received, Reply, answer, chunk, event, stream, usage
from tests.fakes.ticks import Ticks
from tests.fakes.worker import Edge, account, job, rig, until
from workers.calls import parts as parts_module

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
STREAM = BODY | {"stream": True}


def pool(*accounts: Any) -> tuple[PoolSettings, ...]:
    return (PoolSettings(name="openai", provider="openai", accounts=accounts),)


async def test_full_worker_leaves_and_comes_back() -> None:
    """A full worker leaves the queue group (the next job meets nobody), and rejoins with room to spare."""
    gate = asyncio.Event()
    async with (
        FakeOpenAI(
            lambda received: Reply(pieces=answer(received).pieces, before=[gate], length=True)
        ) as fake,
        rig(pool(account(fake.base_url, max_inflight=4))) as made,
    ):
        nobody: list[bool] = []
        edge = made.edge
        offered = [edge.offer(job(BODY)) for _ in range(6)]
        await until(
            lambda: sum(isinstance(item.frames[0], Bounce) for item in offered if item.frames) == 2,
            "bounces",
        )
        assert all(item.last.error is None for item in offered if isinstance(item.last, Bounce))
        await until(lambda: not made.beat().accepting, "the beat")
        assert (made.beat().inflight, made.beat().capacity) == (4, 4)
        other = await Bus.connect(
            made.server.settings(Role.EDGE), Role.EDGE, name="e9", on_closed=lambda: None
        )
        inbox = subjects.frames(other.id, "rnobody", 1)
        await other.subscribe(inbox, lambda message: nobody.append(message.no_responders))
        await until(lambda: _offered(other, inbox, nobody), "no responders")
        await other.close()
        gate.set()
        await asyncio.gather(*(item.end() for item in offered))
        await until(lambda: made.beat().accepting, "the beat")
        assert isinstance((await edge.call(job(BODY))).last, End)


def _offered(bus: Bus, inbox: str, nobody: list[bool]) -> bool:
    bus.publish(subjects.pool("openai"), encode(job(BODY, request_id="rnobody")), inbox)
    return True in nobody


async def test_replies_only_to_frame_inboxes() -> None:
    """A job with any other reply subject, or one of another call, is never answered: it could forge a bill."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        for reply in (
            subjects.usage("openai"),
            "_INBOX.edge.r.1",
            "pool.openai",
            subjects.frames("e1", "rother", 1),
        ):
            made.edge.offer(job(BODY), reply=reply)
        made.edge.bus.publish(subjects.pool("openai"), b"\x93garbage", subjects.frames("e1", "rx", 1))
        assert isinstance((await made.edge.call(job(BODY))).last, End)
        assert len(fake.received) == 1
        assert len(made.ledger.events) == 1


async def test_a_job_in_a_dialect_of_a_newer_edge_is_left_to_others() -> None:
    """A worker takes no call that it could not answer: the edge offers it again, and another worker may serve it."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        made.edge.offer(job(BODY, dialect="later"))
        assert isinstance((await made.edge.call(job(BODY))).last, End)
        assert len(fake.received) == len(made.ledger.events) == 1


@pytest.mark.parametrize("seals", [True, False], ids=["sealed", "of the last version"])
async def test_large_bodies_travel_in_parts(seals: bool) -> None:
    """A body in parts reaches the upstream whole, sealed to this worker, or as an edge of the last version sends it."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        made.edge.seals = seals
        body = json.dumps(BODY | {"x": "\u65e5" * 1_000_000}).encode()
        pieces = [body[at : at + FRAME_BYTES_MAX] for at in range(0, len(body), FRAME_BYTES_MAX)]
        call = job(BODY, body=b"", body_bytes=len(body), parts=len(pieces))
        made.edge.bodies[call.request_id] = pieces
        assert isinstance((await made.edge.call(call)).last, End)
        assert fake.received[0].json["x"] == "\u65e5" * 1_000_000


async def test_parts_that_do_not_come(monkeypatch: Any) -> None:
    """Missing, oversized or surplus parts end the call with a 503, at no cost."""
    monkeypatch.setattr(parts_module, "WAIT_S", 0.3)
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        for pieces in ([b"{"], [b"{", b"x" * 50], [b"{", b""]):
            call = job(BODY, body=b"", body_bytes=10, parts=2)
            made.edge.bodies[call.request_id] = pieces
            assert (await made.edge.call(call)).failed.error.status == 503
            bill = await made.ledger.event(call)
            assert (bill.usage, bill.tries) == (NO_USAGE, ())
        huge = await made.edge.call(job(BODY, body=b"", body_bytes=1 << 40, parts=1))
        assert isinstance(huge.last, Bounce)
        assert not fake.received


async def test_newer_attempt_replaces_the_older() -> None:
    """A second attempt of a call that still runs here stops the first; both are reported, a stale one is not taken."""
    never = asyncio.Event()
    replies = [Reply(before=[never])]

    def handler(received: Received) -> Reply:
        return replies.pop() if replies else answer(received)

    async with FakeOpenAI(handler) as fake, rig(pool(account(fake.base_url))) as made:
        first = made.edge.offer(call := job(BODY))
        await until(lambda: fake.received, "the upstream call")
        again = msgspec.structs.replace(call, attempt=2)
        second = await made.edge.call(again)
        assert isinstance(second.last, End)
        await asyncio.wait_for(fake.received[0].closed.wait(), 10)
        assert (await made.ledger.event(call)).outcome is Outcome.CANCELLED
        assert (await made.ledger.event(again)).outcome is Outcome.OK
        assert not isinstance(first.last, End)


async def test_nats_restart_in_the_middle_of_a_stream() -> None:
    """Frames that a restart may have lost go out again: no gap, no loss, and the bill arrives."""
    gate = asyncio.Event()
    events = stream(["one ", "two "], usage(7, 2))
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[*events[:2], gate, *events[2:]])) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        answered = made.edge.offer(call := job(STREAM))
        await until(lambda: b"one" in answered.data, "the first words")
        made.server.kill()
        await until(lambda: not made.edge.bus.connected, "the loss")
        gate.set()
        await until(
            lambda: len(fake.received[0].json) and fake.received[0].written == len(events), "the rest"
        )
        made.server.start()
        await answered.end()
        assert isinstance(answered.last, End)
        assert not answered.gap
        assert answered.data.count(b"\n\n") == 4
        assert (await _stored(made, call)).outcome is Outcome.OK


async def _stored(made: Any, call: Any) -> Any:
    # The stub subscribes without JetStream, so what was published while it reconnected may only be in the stream.
    client, _ = await made.server.client("admin")
    try:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(subjects.USAGE_STREAM)).state
        events = []
        for seq in range(state.first_seq, state.last_seq + 1):
            events += decode_batch((await jetstream.get_msg(subjects.USAGE_STREAM, seq)).data).events
    finally:
        await client.close()
    [found] = [item for item in events if item.request_id == call.request_id]
    return found


async def test_edge_gone() -> None:
    """When nobody hears a call's frames for 3 s, the upstream is closed and the call estimated."""
    never = asyncio.Event()
    pieces: list[Any] = [
        event(chunk({"content": "word0001"})),
        *([0.2, event(chunk({"content": "x"}))] * 3),
        never,
    ]
    async with FakeOpenAI(lambda _: Reply(pieces=pieces)) as fake, rig(pool(account(fake.base_url))) as made:
        bus = await Bus.connect(
            made.server.settings(Role.EDGE), Role.EDGE, name="dies", on_closed=lambda: None
        )
        edge = Edge(bus)
        await edge.start()
        answered = edge.offer(call := job(STREAM))
        await until(lambda: answered.data, "the first word")
        began, waited = time.monotonic(), Ticks()
        await bus.close()
        await asyncio.wait_for(fake.received[0].closed.wait(), 30)
        assert time.monotonic() - began > 2.5
        assert waited.s < 7
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.CANCELLED, Known.ESTIMATED)
        assert bill.usage.output >= 2


async def test_edge_that_comes_back() -> None:
    """An edge that is away for a second finds every frame when it is back: nothing is cancelled, nothing is missing."""
    gate = asyncio.Event()
    events = stream(["one ", "two ", "three "], usage(7, 3))
    pieces = [*events[:2], gate, events[2], 0.7, *events[3:]]
    async with FakeOpenAI(lambda _: Reply(pieces=pieces)) as fake, rig(pool(account(fake.base_url))) as made:
        bus = await Bus.connect(
            made.server.settings(Role.EDGE), Role.EDGE, name="away", on_closed=lambda: None
        )
        edge = Edge(bus)
        subscription = await bus.subscribe(subjects.frames_all(bus.id), edge._on_frame)
        answered = edge.offer(job(STREAM))
        await until(lambda: b"one" in answered.data, "the first word")
        await subscription.unsubscribe()
        await bus.flush(2)
        gate.set()
        await until(lambda: fake.received[0].written == len(events), "the rest")
        await bus.subscribe(subjects.frames_all(bus.id), edge._on_frame)
        await answered.end()
        assert isinstance(answered.last, End)
        assert not answered.gap
        assert answered.data.count(b"\n\n") == 5
        await bus.close()


async def test_alive_when_silent() -> None:
    """A call with nothing to say says so every 5 seconds, with its last number."""
    gate = asyncio.Event()
    async with (
        FakeOpenAI(
            lambda received: Reply(pieces=answer(received).pieces, before=[gate], length=True)
        ) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        waited = Ticks()
        answered = made.edge.offer(job(BODY))
        await until(lambda: any(isinstance(frame, Alive) for frame in answered.frames), "a sign of life", 30)
        assert answered.times[-1] - answered.times[0] > 4.5
        assert waited.s < 6
        assert answered.last == Alive(0)
        gate.set()
        assert isinstance((await answered.end()).last, End)


async def test_probe_is_answered() -> None:
    """Whoever asks whether this worker lives gets an empty message in a frame inbox; elsewhere, silence."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        answered = await made.edge.call(job(BODY))
        heard: list[bytes] = []
        other = await Bus.connect(
            made.server.settings(Role.EDGE), Role.EDGE, name="e9", on_closed=lambda: None
        )
        inbox = subjects.frames(other.id, "probe", 0)
        await other.subscribe(inbox, lambda message: heard.append(message.data))
        other.publish(subjects.control(answered.worker_id), encode(Probe()), inbox)
        await until(lambda: heard == [b""], "the answer")
        with pytest.raises(BusTimeout):
            await other.request(subjects.control(answered.worker_id), encode(Probe()), 0.3)
        with pytest.raises(NoResponders):
            await other.request(subjects.control("wnobody"), encode(Probe()), 0.3)
        await other.close()
        made.edge.bus.publish(subjects.control(answered.worker_id), b"\xc1nonsense")
        assert isinstance((await made.edge.call(job(BODY))).last, End)


async def test_credit_of_accounts() -> None:
    """The ledger's figure counts, minus what is in flight; a spent account leaves rotation, and comes back with credit."""
    never = asyncio.Event()
    async with FakeOpenAI(lambda _: Reply(before=[never])) as fake:
        metered = account(fake.base_url, credit_nano=5_000_000)
        async with rig(pool(metered), credit_nano={"a": 2_500_000}) as made:
            await until(lambda: made.beat().accounts[0].state is AccountState.OK, "the beat")
            offered = [made.edge.offer(job(BODY, hold_list_nano=1_000_000)) for _ in range(2)]
            await until(lambda: len(fake.received) == 2, "two calls")
            await asyncio.sleep(1.2)
            bounced = await made.edge.call(job(BODY, hold_list_nano=1_000_000))
            assert isinstance(bounced.last, Bounce)
            made.ledger.credit_nano = {"a": 2_000_000}
            await until(lambda: made.beat().accounts[0].state is AccountState.SPENT, "the beat")
            assert made.beat().models == ()
            made.ledger.credit_nano = {"a": 9_000_000}
            await until(lambda: made.beat().models == ("m",), "the beat")
            for item in offered:
                item.cancel()


async def test_least_loaded_account_first() -> None:
    """Calls go to the account with the smallest share of its room in use."""
    never = asyncio.Event()
    async with (
        FakeOpenAI(lambda _: Reply(before=[never])) as small,
        FakeOpenAI(lambda _: Reply(before=[never])) as big,
    ):
        accounts = (
            account(small.base_url, "small", max_inflight=2),
            account(big.base_url, "big", max_inflight=6),
        )
        async with rig(pool(*accounts)) as made:
            offered = [made.edge.offer(job(BODY)) for _ in range(4)]
            await until(lambda: len(small.received) + len(big.received) == 4, "the calls")
            assert (len(small.received), len(big.received)) == (1, 3)
            for item in offered:
                item.cancel()


async def test_stop_finishes_what_it_has() -> None:
    """On a stop the worker takes no more, bounces what is on its way, finishes calls, and waits for their bills."""
    gate = asyncio.Event()
    async with (
        FakeOpenAI(
            lambda received: Reply(pieces=answer(received).pieces, before=[gate], length=True)
        ) as fake,
        rig(pool(account(fake.base_url)), grace_s=10) as made,
    ):
        offered = [made.edge.offer(job(BODY)) for _ in range(5)]
        await until(lambda: len(fake.received) == 5, "the calls")
        made.stop.set()
        await until(lambda: not made.beat().accepting, "the beat")
        gate.set()
        for item in offered:
            assert isinstance((await item.end()).last, End)
        assert made.worker is not None
        await asyncio.wait_for(made.worker, 30)
        assert len(made.ledger.events) == 5


async def test_stop_when_grace_is_over() -> None:
    """Calls that outlast the grace period fail for their callers, and are reported."""
    never = asyncio.Event()
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[event(chunk({"content": "word0001"})), never])) as fake,
        rig(pool(account(fake.base_url)), grace_s=0.3) as made,
    ):
        answered = made.edge.offer(call := job(STREAM))
        await until(lambda: answered.data, "the first word")
        made.stop.set()
        assert (await answered.end()).failed.error.status == 503
        estimated = TokenUsage(input=prompt_tokens(call), output=output_tokens("word0001", call.upstream))
        assert (await made.ledger.event(call)).usage == estimated


async def test_idle_stop_is_quick() -> None:
    """An idle worker stops in well under 5 seconds."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url)), grace_s=30) as made:
        waited = Ticks()
        made.stop.set()
        assert made.worker is not None
        await asyncio.wait_for(made.worker, 30)
        assert waited.s < 2


async def test_leases_are_renewed(monkeypatch: Any) -> None:
    """Every accepted call's lease is renewed in bulk while it runs, and no longer."""
    monkeypatch.setattr("schemas.verbs.calls.RENEW_INTERVAL_S", 0.2)
    gate = asyncio.Event()
    async with (
        FakeOpenAI(
            lambda received: Reply(pieces=answer(received).pieces, before=[gate], length=True)
        ) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        offered = [made.edge.offer(job(BODY)) for _ in range(3)]
        ids = {item.job.request_id for item in offered}
        await until(lambda: set(made.ledger.renewed) == ids, "renewals")
        gate.set()
        await asyncio.gather(*(item.end() for item in offered))


async def test_frames_are_in_order_and_accept_is_first() -> None:
    """The first frame is the accept with number 0; numbers have no holes."""
    async with FakeOpenAI() as fake, rig(pool(account(fake.base_url))) as made:
        answered = await made.edge.call(job(STREAM))
        assert isinstance(answered.frames[0], Accept)
        assert [frame.seq for frame in answered.frames if not isinstance(frame, Alive | Bounce)] == list(
            range(answered.next_seq)
        )
