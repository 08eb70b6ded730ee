"""Ends that get lost, late or cannot be believed: whoever saw an error is not billed, whoever got an answer is."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from edge.calls.call import Call
from schemas.bus.frames import Data, Failed
from schemas.errors import not_recorded, overloaded
from schemas.verbs.calls import AUTHORISE, ESTIMATE, REATTEMPT, RENEW
from schemas.verbs.ping import PING
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, completion, event, happy, until, without_pings

Restart = Callable[[Rig, pytest.MonkeyPatch], Awaitable[None]]
DONE = b"data: [DONE]\n\n"


async def estimate_of(rig: Rig) -> tuple[int, bool]:
    """The attempt that the ledger is told of, and whether its caller saw an error."""
    (told,) = await until(lambda: rig.ledger.of(ESTIMATE))
    return told.attempt, told.failed


async def told_in_vain(rig: Rig) -> int:
    """A call fails while the ledger answers pings and cannot write: how often it was told so before the pause."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        rig.ledger.writes = False
        await attempt.worker.die()

    rig.worker.script = script
    assert (await rig.chat()).status_code == 503
    await until(lambda: rig.ledger.of(PING))
    return len(rig.ledger.of(ESTIMATE))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bill_whose_end_was_lost_is_taken_back(rig: Rig, stream: bool) -> None:
    """The worker billed, its end was lost, it died: the caller sees a 502, and the ledger hears that it did."""
    rig.ledger.reattempt_ok = False

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await asyncio.sleep(0.1)
        await attempt.worker.die()

    rig.worker.script = script
    answer = await rig.chat(stream=stream)
    if not stream:
        assert answer.status_code == 502
    assert b'"error"' in answer.content
    assert await estimate_of(rig) == (1, True)


async def test_a_ledger_that_is_away_hears_later_that_the_caller_saw_an_error(rig: Rig) -> None:
    """A reattempt that could not be asked for is a 503 that must not be billed, however late the ledger comes back."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await rig.ledger.leave()
        await attempt.worker.die()

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.status_code == 503
    await asyncio.sleep(FAST.ledger_s + 0.3)  # longer than any caller would wait
    await rig.ledger.open()
    assert await estimate_of(rig) == (1, True)


@pytest.mark.parametrize(
    "rig", [msgspec.structs.replace(FAST, settle_s=0.2, ledger_ask_s=0.2)], indirect=True
)
async def test_a_stop_with_the_ledger_away_still_tells_it(rig: Rig) -> None:
    """What a caller saw fail is told beyond the time of other errands, and a stop gives it the whole grace period."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await rig.ledger.leave()
        await attempt.worker.die()

    rig.worker.script = script
    assert (await rig.chat()).status_code == 503
    await asyncio.sleep(FAST.ledger_s + 0.3)  # the first telling has found nobody
    rig.stop.set()
    await until(lambda: rig.edge.load.stopping)
    await asyncio.sleep(FAST.grace_s / 2)
    await rig.ledger.open()
    assert await estimate_of(rig) == (1, True)


@pytest.mark.parametrize(
    "rig", [msgspec.structs.replace(FAST, grace_s=600.0, refund_stop_s=0.5)], indirect=True
)
async def test_a_stop_does_not_wait_for_a_ledger_as_long_as_for_calls(rig: Rig) -> None:
    """A refund that nobody takes holds up a stop without calls for its own time at most, however long calls may take."""
    await told_in_vain(rig)
    rig.stop.set()
    assert rig.running is not None
    await asyncio.wait_for(asyncio.shield(rig.running), 10)


async def test_a_ledger_that_is_away_is_not_asked_again_and_again(rig: Rig) -> None:
    """Whoever waits for a ledger that does not answer sends it nothing: one ping asks after it. Then it is told."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        rig.ledger.silent = True
        await attempt.worker.die()

    rig.worker.script = script
    assert (await rig.chat()).status_code == 503
    tries = int(FAST.ledger_s / FAST.ledger_try_s) + 1
    await until(lambda: rig.ledger.of(PING))
    told = len(rig.ledger.of(ESTIMATE))
    assert 1 <= told <= tries
    await until(lambda: len(rig.ledger.of(PING)) >= 3)
    assert len(rig.ledger.of(ESTIMATE)) == told
    rig.ledger.silent = False
    await until(lambda: len(rig.ledger.of(ESTIMATE)) == told + 1)
    assert rig.ledger.of(ESTIMATE)[-1].failed


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, ledger_ask_s=3.0)], indirect=True)
async def test_a_ledger_that_cannot_write_is_left_in_peace(rig: Rig) -> None:
    """A ledger that answers pings but writes nothing is not told the same over and over: there is a pause. Then it is told."""
    told = await told_in_vain(rig)
    await asyncio.sleep(2 * FAST.ledger_try_s)
    assert len(rig.ledger.of(ESTIMATE)) == told
    rig.ledger.writes = True
    await until(lambda: len(rig.ledger.of(ESTIMATE)) == told + 1)


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, ledger_ask_s=60.0)], indirect=True)
async def test_a_stop_ends_the_pause_before_a_refund_is_told_again(rig: Rig) -> None:
    """A refund that pauses since the ledger could not write is told when the edge stops, not lost in its sleep."""
    told = await told_in_vain(rig)
    rig.ledger.writes = True
    rig.stop.set()
    await until(lambda: len(rig.ledger.of(ESTIMATE)) > told, FAST.grace_s)
    assert rig.ledger.of(ESTIMATE)[-1].failed


async def test_an_answer_that_was_not_recorded_in_time_is_not_billed_later(rig: Rig) -> None:
    """A plain answer whose bill was not durable in time is a 503; its event still comes, and must not bill it."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(completion("never seen")[:20])
        attempt.fail(not_recorded())

    rig.worker.script = script
    assert (await rig.chat()).status_code == 503
    assert await estimate_of(rig) == (1, True)


async def test_a_stream_that_was_not_recorded_in_time_is_billed(rig: Rig) -> None:
    """The same after the caller has the words: they are billed by the worker's event."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("seen"))
        attempt.fail(not_recorded())

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert answer.content == event("seen") + not_recorded().event() + DONE
    await rig.chat(stream=True)
    assert not rig.ledger.of(ESTIMATE)


async def test_a_failure_waits_for_the_frames_before_it(rig: Rig) -> None:
    """A failure that overtakes words does not hide them: the caller gets what the worker bills."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.send(Failed(2, overloaded()))
        await asyncio.sleep(0.1)
        attempt.send(Data(1, event("billed")))
        attempt.send(Failed(2, overloaded()))

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert answer.content == event("billed") + overloaded().event() + DONE


async def test_an_answer_without_room_is_not_given_away(rig: Rig) -> None:
    """An answer whose last bytes do not fit into memory is an error and no bill, never an answer without one."""
    rig.ledger.reattempt_ok = False

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        rig.edge.budget.used += FAST.buffered_bytes
        attempt.end(completion("for nothing"))

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.status_code == 502
    assert await estimate_of(rig) == (1, True)


async def test_an_answer_without_a_body_is_not_billed(rig: Rig) -> None:
    """A plain call that ends well with nothing in it is a 500, at no cost."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.end()

    rig.worker.script = script
    assert (await rig.chat()).status_code == 500
    assert await estimate_of(rig) == (1, True)


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, silence_s=0.7)], indirect=True)
async def test_a_frozen_worker_is_told_to_stop_after_the_ledgers_word(rig: Rig) -> None:
    """The event of a worker that is stopped before its attempt is replaced would bill the caller for nothing."""
    asked: list[int] = []

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        if attempt.job.attempt == 2:
            attempt.end(completion("second"))
            return
        await attempt.cancelled.wait()
        asked.append(len(rig.ledger.of(REATTEMPT)))

    rig.worker.script = script
    assert (await rig.chat()).content == completion("second")
    await until(lambda: asked)
    assert asked == [1]


async def test_words_of_a_replaced_attempt_are_never_seen(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that wait when their worker is given up are dropped: an answer never begins twice."""
    written = Call.wake
    held: list[Call] = []

    def wake(call: Call) -> None:
        # The caller's side is slow: it looks only once the attempt has been given up.
        if call.current.number == 1 and not held:
            held.append(call)
            call.worker_died()
        written(call)

    monkeypatch.setattr(Call, "wake", wake)

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        if attempt.job.attempt == 1:
            attempt.data(event("first"))
        else:
            attempt.data(event("second"))
            attempt.end()

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert without_pings(answer.content) == event("second") + DONE


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, ping_s=60.0)], indirect=True)
async def test_what_was_taken_is_credited_without_more_coming(rig: Rig) -> None:
    """A worker whose window is full of what the caller has hears so, though it can send nothing that would tell."""
    through: list[int] = []

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for _ in range(4):
            attempt.data(event("x" * 250_000))
        await until(lambda: attempt.credits and attempt.credits[-1] == 4, 5)
        through.append(attempt.credits[-1])
        attempt.end()

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert through == [4]
    assert answer.content.endswith(DONE)


async def lose_nats(rig: Rig) -> None:
    """Kills NATS. What the worker has from here on came over a later connection."""
    rig.nats.kill()
    await until(lambda: not rig.worker.bus.connected and not rig.edge.bus.connected)
    rig.worker.attempts[0].parts.clear()


async def come_back_late(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts NATS; the worker's connection comes back only when the server has all that the edge sent to it."""
    client = rig.worker.bus.client
    connect_to = client._connect_to_server
    edge_was_first = asyncio.Event()

    async def connect_late(*server: object) -> None:
        await edge_was_first.wait()
        await connect_to(*server)

    with monkeypatch.context() as patch:
        patch.setattr(client, "_connect_to_server", connect_late)
        await lose_nats(rig)
        rig.nats.start()
        await until(lambda: rig.edge.bus.connected)
        for _ in range(2):  # what was published while the first one ran is before the second one
            await rig.edge.bus.flush(5)
        assert not rig.worker.bus.connected
        edge_was_first.set()
        await until(lambda: rig.worker.bus.connected)


async def come_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts NATS; edge and worker come back as it happens."""
    del monkeypatch
    await lose_nats(rig)
    rig.nats.start()
    await until(lambda: rig.worker.bus.connected and rig.edge.bus.connected)


@pytest.mark.parametrize("size", [1_000_000, 3_000_000], ids=["at once", "with echoes"])
@pytest.mark.parametrize("restarts", [[come_back], [come_back_late], [come_back_late, come_back_late]])
async def test_parts_go_out_again_after_a_restart_of_nats(
    own_rig: Rig, monkeypatch: pytest.MonkeyPatch, restarts: list[Restart], size: int
) -> None:
    """A large body whose parts a restart may have lost is sent again, all of it, whoever of edge and worker is back first."""
    restarted = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await restarted.wait()
        everything = set(range(attempt.job.parts))
        await until(lambda: {part.index for part in attempt.parts} == everything)
        attempt.end(completion("whole"))

    own_rig.worker.script = script
    call = asyncio.create_task(own_rig.chat(user="x" * size))
    await until(lambda: own_rig.worker.attempts and own_rig.worker.attempts[0].parts)
    for restart in restarts:
        await restart(own_rig, monkeypatch)
    restarted.set()
    assert (await call).content == completion("whole")


async def test_happy_calls_cost_no_word_to_the_ledger(rig: Rig) -> None:
    """Nothing of the above costs a call that ends well: authorise is all that the ledger hears."""
    rig.worker.script = happy
    assert (await rig.chat()).status_code == 200
    assert (await rig.chat(stream=True)).content.endswith(DONE)
    asked = {verb for verb, message in rig.ledger.asked if message is not None}
    assert asked <= {AUTHORISE, RENEW}
