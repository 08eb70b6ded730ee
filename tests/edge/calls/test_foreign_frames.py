"""Frames of somebody who has a worker's credential, knows a call and its edge, and has not seen the job."""

import asyncio

import pytest
from msgspec import structs

from edge import telemetry
from runtime.bus.bus import Bus
from schemas.bus import frames, subjects
from schemas.bus.frames import Accept, Bounce, Data, End, Failed
from schemas.bus.subjects import Role
from schemas.errors import internal
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, connect, event, happy, until, without_pings

BODY = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def inboxes(rig: Rig, request_id: str) -> list[str]:
    """Where frames of a call would go if its secret were known, or there were none."""
    edge_id = rig.edge.relay.edge_id
    plain = subjects.frames(edge_id, request_id, 1)
    return [plain, f"{plain}.{'0' * 32}", subjects.frames(edge_id, request_id, 2), f"{plain}.0.0"]


def forged(worker_id: str) -> list[frames.Frame]:
    """Frames that would end, lengthen, take over or cancel a call."""
    return [
        Accept(0, worker_id),
        Data(1, event("forged")),
        Data(2, event("forged")),
        Data(3, event("forged")),
        End(2),
        Failed(2, internal()),
        Bounce(worker_id),
        Bounce(worker_id, internal()),
    ]


async def stolen(rig: Rig) -> Bus:
    """A connection that is made with the credential of the role of workers."""
    bus = await connect(rig.nats, Role.WORKER)
    rig.stack.push_async_callback(bus.close)
    return bus


@pytest.mark.parametrize("rig", [structs.replace(FAST, accept_s=30.0)], indirect=True)
@pytest.mark.parametrize("accepted", [True, False], ids=["running", "offered"])
async def test_who_has_not_seen_a_job_writes_into_no_call(rig: Rig, accepted: bool) -> None:
    """No forged frame reaches a caller, ends a call, takes it over, or has its worker told to stop."""
    going = asyncio.Event()
    attempts: list[Attempt] = []

    async def script(attempt: Attempt) -> None:
        attempts.append(attempt)
        if accepted:
            attempt.accept()
            attempt.data(event("one"))
        await going.wait()
        if not accepted:
            attempt.accept()
            attempt.data(event("one"))
        attempt.data(event("two"))
        attempt.end()

    rig.worker.script = script
    thief = await stolen(rig)
    before = telemetry.FOREIGN_FRAMES._value.get()
    stale = telemetry.STALE_FRAMES._value.get()
    asking = asyncio.create_task(rig.http.post("/v1/chat/completions", json=BODY))
    await until(lambda: attempts)
    sent = 0
    for inbox in inboxes(rig, attempts[0].job.request_id):
        named = subjects.parse_frames(inbox) is not None
        for frame in forged(rig.worker.id):
            thief.publish(inbox, frames.encode(frame), subjects.control(rig.worker.id))
            sent += named
        thief.publish(inbox, b"", subjects.control(rig.worker.id))
        sent += named
    await until(lambda: telemetry.FOREIGN_FRAMES._value.get() - before >= sent)
    going.set()
    received = (await asking).content
    assert without_pings(received) == event("one") + event("two") + b"data: [DONE]\n\n"
    assert len(attempts) == 1
    assert not attempts[0].cancelled.is_set()
    assert telemetry.STALE_FRAMES._value.get() == stale


async def test_no_edge_cancels_a_call_of_another_for_a_stranger(rig: Rig) -> None:
    """Frames of a call that this edge does not have tell no worker to stop, unless it once gave out their inbox."""
    thief, victim = await stolen(rig), await stolen(rig)
    told: list[bytes] = []
    await victim.subscribe(subjects.control(victim.id), lambda message: told.append(message.data))
    before = telemetry.FOREIGN_FRAMES._value.get()
    for inbox in inboxes(rig, "req_of_another_edge")[:2]:
        thief.publish(inbox, frames.encode(Data(1, b"x")), subjects.control(victim.id))
        thief.publish(inbox, frames.encode(Accept(0, victim.id)))
    await until(lambda: telemetry.FOREIGN_FRAMES._value.get() - before >= 4)
    own = rig.edge.relay._inbox("req_that_has_ended", 1)
    thief.publish(own, frames.encode(Data(1, b"x")), subjects.control(victim.id))
    await until(lambda: told)
    await victim.flush(5)
    assert [frames.decode_control(data) for data in told] == [
        frames.Cancel("req_that_has_ended", 1, left=False)
    ]


async def test_no_inbox_is_remembered_beyond_its_attempt(rig: Rig) -> None:
    """Neither that of a call which has ended well or badly, nor that of an attempt which another has replaced."""

    async def lost_once(attempt: Attempt) -> None:
        if attempt.job.attempt > 1:
            assert len(rig.edge.relay._inboxes) == 1
            await happy(attempt)

    await rig.chat()
    rig.worker.script = lost_once
    assert (await rig.chat()).status_code == 200
    await rig.chat(model="none")
    assert not rig.edge.relay._inboxes


async def test_inboxes_have_a_secret_each(rig: Rig) -> None:
    """Two calls, two attempts and two edges have secrets of their own, and one attempt has one as long as it lasts."""
    relay = rig.edge.relay
    made = {relay._inbox(name, number) for name in ("a", "b") for number in (1, 2)}
    secrets = {inbox.rsplit(".", 1)[1] for inbox in made}
    assert len(secrets) == 4
    assert all(len(secret) == 32 for secret in secrets)
    assert relay._inbox("a", 1) in made
    assert all(subjects.is_frames_inbox(inbox) for inbox in made)
    assert {subjects.parse_frames(inbox) for inbox in made} == {("a", 1), ("a", 2), ("b", 1), ("b", 2)}
