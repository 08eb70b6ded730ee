"""Offers and attempts: bounces, full pools, dead and frozen workers, restarts of the ledger and of NATS."""

import asyncio
import time

import httpx
import msgspec
import pytest

from schemas.errors import unavailable
from schemas.money.pricing import NO_USAGE
from schemas.verbs.calls import ESTIMATE, REATTEMPT, RELEASE, RENEW
from tests.edge.conftest import FAST, PATIENT, Rig
from tests.edge.stand_ins import Attempt, completion, event, happy, until, without_pings
from tests.fakes.ticks import Ticks

CHAT = "/v1/chat/completions"
BODY = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}


async def test_bounce_is_offered_again_without_asking(rig: Rig) -> None:
    """A bounced job is offered again as the same attempt, without the ledger's word."""

    async def script(attempt: Attempt) -> None:
        if len(rig.worker.attempts) < 3:
            attempt.bounce()
        else:
            await happy(attempt)

    rig.worker.script = script
    assert (await rig.chat()).status_code == 200
    assert [attempt.job.attempt for attempt in rig.worker.attempts] == [1, 1, 1]
    assert not rig.ledger.of(REATTEMPT)


async def test_bounce_with_an_error_is_the_answer(rig: Rig) -> None:
    """A bounce that says that no offer can help is the caller's error, and the hold is released."""

    async def script(attempt: Attempt) -> None:
        attempt.bounce(unavailable("Every account is spent.", code="no_account"))

    rig.worker.script = script
    answer = await rig.chat()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_account")
    await until(lambda: rig.ledger.of(RELEASE))


async def test_full_pool_is_a_bounded_wait_then_429(rig: Rig) -> None:
    """When every worker bounces, the caller waits a little, then gets a 429 with Retry-After; the hold is released."""

    async def script(attempt: Attempt) -> None:
        attempt.bounce()

    rig.worker.script = script
    rig.worker.accepting = False
    started, waited = time.monotonic(), Ticks()
    answer = await rig.chat()
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert time.monotonic() - started >= FAST.full_wait_s
    assert waited.s < FAST.full_wait_s + 1
    await until(lambda: rig.ledger.of(RELEASE))


async def test_waiting_call_is_taken_when_there_is_room(rig: Rig) -> None:
    """A call that waits is offered as soon as a beat says that a worker has room."""
    await rig.worker.leave_jobs()
    rig.worker.accepting = False
    rig.worker.beat()
    call = asyncio.create_task(rig.chat())
    await asyncio.sleep(0.2)
    await rig.worker.take_jobs()
    rig.worker.accepting = True
    rig.worker.beat()
    assert (await call).status_code == 200
    assert not rig.ledger.of(REATTEMPT)


async def test_deserted_pool_is_429_at_once(rig: Rig) -> None:
    """A pool without a beat and without a listener is a 429 without a wait."""
    await rig.worker.die()
    await until(lambda: rig.edge.roster.silent("sandbox"))
    waited = Ticks()
    answer = await rig.chat()
    assert answer.status_code == 429
    assert waited.s < FAST.full_wait_s / 2


async def test_silent_offer_is_attempted_again(rig: Rig) -> None:
    """A job that nobody accepts in time is replaced by a new attempt that the ledger knows; a late accept is cancelled."""
    first: list[Attempt] = []

    async def script(attempt: Attempt) -> None:
        if not first:
            first.append(attempt)
            return
        await happy(attempt)

    rig.worker.script = script
    assert (await rig.chat()).status_code == 200
    asked = rig.ledger.of(REATTEMPT)
    assert [(message.attempt, message.replaced) for message in asked] == [(2, NO_USAGE)]
    assert [attempt.job.attempt for attempt in rig.worker.attempts] == [1, 2]
    first[0].accept()
    await asyncio.wait_for(first[0].cancelled.wait(), 10)


async def test_attempts_are_bounded(rig: Rig) -> None:
    """After the last attempt the caller gets a 502, and the books an estimate that bills nothing."""

    async def script(attempt: Attempt) -> None:
        del attempt

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.status_code == 502
    assert len(rig.worker.attempts) == FAST.attempts
    estimate = (await until(lambda: rig.ledger.of(ESTIMATE)))[0]
    assert (estimate.failed, estimate.usage, estimate.attempt) == (True, NO_USAGE, FAST.attempts)


async def test_refused_reattempt_ends_the_call(rig: Rig) -> None:
    """A further attempt that the ledger refuses is not offered."""
    rig.ledger.reattempt_ok = False

    async def script(attempt: Attempt) -> None:
        del attempt

    rig.worker.script = script
    assert (await rig.chat()).status_code == 502
    assert len(rig.worker.attempts) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_worker_dies_before_the_first_byte(rig: Rig, stream: bool) -> None:
    """A worker that dies before the first byte costs the caller only time: another one serves the call."""
    other = await rig.add_worker()

    async def dies(attempt: Attempt) -> None:
        attempt.accept()
        victim = attempt.worker
        for worker in (rig.worker, other):
            if worker is not victim:
                worker.script = happy
        await asyncio.sleep(0.1)
        await victim.die()

    rig.worker.script = other.script = dies
    waited = Ticks()
    answer = await rig.chat(stream=stream)
    assert answer.status_code == 200
    assert b"error" not in answer.content
    assert waited.s < 4
    assert len(rig.ledger.of(REATTEMPT)) == 1


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, full_wait_s=20.0)], indirect=True)
async def test_the_only_worker_dies_before_the_first_byte(rig: Rig) -> None:
    """A call whose worker was the pool's only one waits for the next one, which is soon started, as others wait for room."""

    async def dies(attempt: Attempt) -> None:
        attempt.accept()
        await rig.worker.die()

    rig.worker.script = dies
    call = asyncio.create_task(rig.chat())
    await until(lambda: rig.ledger.of(REATTEMPT))
    await until(lambda: rig.edge.roster.silent("sandbox"))
    await rig.add_worker()
    assert (await call).status_code == 200


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, silence_s=0.7)], indirect=True)
async def test_frozen_worker_is_given_up_after_silence(rig: Rig) -> None:
    """A worker that beats but says nothing of a call for too long is told to stop, and the call attempted again."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        if attempt.job.attempt == 2:
            attempt.end(completion("second"))

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.content == completion("second")
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)


async def test_signs_of_life_keep_a_call(rig: Rig) -> None:
    """A worker whose beats stop but which answers probes is alive: its calls go on."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await asyncio.sleep(2.5)
        attempt.end(completion("patience"))

    rig.worker.script = script
    rig.worker.beats = False
    answer = await rig.chat()
    assert answer.content == completion("patience")
    assert not rig.ledger.of(REATTEMPT)


async def test_caller_leaves_before_the_accept(rig: Rig) -> None:
    """A call whose caller leaves before an accept is kept: an accept is cancelled, a bounce releases the hold."""

    async def script(attempt: Attempt) -> None:
        first = len(rig.worker.attempts) == 1
        await asyncio.sleep(0.4)
        if first:
            attempt.accept()
        else:
            attempt.bounce()

    rig.worker.script = script
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            await rig.http.post(CHAT, json=BODY, timeout=httpx.Timeout(20, read=0.2))
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)
    released = await until(lambda: rig.ledger.of(RELEASE))
    assert released[0].request_id == rig.worker.attempts[1].job.request_id
    assert len(rig.worker.attempts) == 2


@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, body_s=60.0)], indirect=True)
async def test_large_bodies_travel_in_parts(rig: Rig) -> None:
    """A body above one frame follows the accept in parts, whole and in order."""
    bodies: list[bytes] = []

    async def script(attempt: Attempt) -> None:
        assert attempt.job.body == b""
        attempt.accept()
        await until(lambda: len(attempt.parts) == attempt.job.parts)
        assert [part.index for part in attempt.parts] == list(range(attempt.job.parts))
        bodies.append(b"".join(part.data for part in attempt.parts))
        assert len(bodies[-1]) == attempt.job.body_bytes
        attempt.end(b"{}")

    rig.worker.script = script
    for size in (256 * 1024, 256 * 1024 + 1, 3_000_000, 31_000_000):
        body = msgspec.json.encode({**BODY, "user": "x" * size})
        answer = await rig.http.post(CHAT, content=body)
        assert answer.status_code == 200, answer.text
        assert bodies[-1] == body
    assert rig.edge.budget.used == 0


async def test_ledger_restart_is_waited_for(rig: Rig) -> None:
    """A new call waits while the ledger is restarted; if it stays away, the answer is a 503."""
    await rig.ledger.leave()
    call = asyncio.create_task(rig.chat())
    await asyncio.sleep(0.5)
    await rig.ledger.open()
    assert (await call).status_code == 200
    await rig.ledger.leave()
    answer = await rig.chat()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_leases_are_renewed_in_bulk(rig: Rig) -> None:
    """All calls in flight are renewed with one request."""
    release = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await release.wait()
        attempt.end(b"{}")

    rig.worker.script = script
    calls = [asyncio.create_task(rig.chat()) for _ in range(5)]
    await until(lambda: len(rig.worker.attempts) == 5)
    rig.edge.relay._leases._renew_at = 0.0
    wanted = {attempt.job.request_id for attempt in rig.worker.attempts}
    await until(lambda: any(set(message.request_ids) == wanted for message in rig.ledger.of(RENEW)))
    release.set()
    await asyncio.gather(*calls)


async def test_nats_restart_before_the_answer(own_rig: Rig) -> None:
    """A call that is not yet answered survives a restart of NATS, and one that comes meanwhile waits for it."""
    release = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        await release.wait()
        await happy(attempt)

    own_rig.worker.script = script
    early = asyncio.create_task(own_rig.chat())
    await until(lambda: own_rig.worker.attempts)
    own_rig.nats.kill()
    await until(lambda: not own_rig.edge.bus.connected)
    meanwhile = asyncio.create_task(own_rig.chat(stream=True))
    await asyncio.sleep(0.1)
    own_rig.worker.script = happy
    own_rig.nats.start()
    release.set()
    assert (await early).status_code == 200
    assert (await meanwhile).status_code == 200


async def test_nats_restart_in_a_stream(own_rig: Rig) -> None:
    """A stream that lost frames to a restart of NATS ends with an error event, never with a hole."""
    cut = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await cut.wait()
        attempt.data(event("lost"))
        await until(lambda: own_rig.worker.bus.connected and own_rig.edge.bus.connected)
        await asyncio.sleep(0.3)
        attempt.data(event("c"))
        attempt.end()

    own_rig.worker.script = script
    call = asyncio.create_task(own_rig.chat(stream=True))
    await until(lambda: own_rig.worker.attempts and own_rig.worker.attempts[0].seq == 1)
    await asyncio.sleep(0.1)
    own_rig.nats.kill()
    await until(lambda: not own_rig.worker.bus.connected)
    cut.set()
    await asyncio.sleep(0.1)
    own_rig.nats.start()
    answer = await call
    assert without_pings(answer.content).startswith(event("a") + b'data: {"error"')
    assert answer.content.endswith(b"data: [DONE]\n\n")
