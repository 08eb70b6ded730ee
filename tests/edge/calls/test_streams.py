"""Streams: when the head goes out, pings, failures in the middle, missing frames, credit, slow and leaving callers."""

import asyncio

import httpx
import msgspec
import openai
import pytest

from schemas.bus.frames import Alive, Data, End
from schemas.errors import internal, overloaded
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import ESTIMATE, RELEASE
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until, without_pings
from tests.fakes.ticks import Ticks

DONE = b"data: [DONE]\n\n"
BODY = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}


async def test_head_waits_then_pings(rig: Rig) -> None:
    """Without a first event the head goes out after a while with a comment, repeated until events come."""
    release = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await release.wait()
        attempt.data(event("late"))
        attempt.end()

    rig.worker.script = script
    started = asyncio.get_running_loop().time()
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with rig.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        assert asyncio.get_running_loop().time() - started >= FAST.first_event_s
        got = b""
        async for piece in answer.aiter_raw():
            got += piece
            if got.count(b": ping\n\n") == 2:
                release.set()
    assert without_pings(got) == event("late") + DONE


async def test_failure_after_the_first_event(rig: Rig) -> None:
    """After bytes went out, a failure is one error event, then `[DONE]`, then a clean end; the SDK raises on it."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("Hel"))
        attempt.fail(overloaded())

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert answer.status_code == 200
    assert answer.content == event("Hel") + overloaded().event() + DONE
    client = openai.AsyncOpenAI(api_key=rig.ledger.key, base_url=f"{rig.url}/v1", max_retries=0)
    with pytest.raises(openai.APIError) as raised:
        async for _ in await client.chat.completions.create(
            model="tokn-sandbox", messages=[{"role": "user", "content": "hi"}], stream=True
        ):
            pass
    assert raised.value.code == "server_is_overloaded"
    await client.close()


async def test_missing_frame_ends_the_stream_with_an_error(rig: Rig) -> None:
    """A gap that is not filled in time is an error event and a cancel; never silence, never a hole. Its caller has not left."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await asyncio.sleep(0.1)
        attempt.send(Data(3, event("c")))
        attempt.send(End(4))

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert without_pings(answer.content).startswith(event("a") + b'data: {"error":')
    assert answer.content.endswith(DONE)
    assert event("c") not in answer.content
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)
    assert rig.worker.attempts[0].left is False
    assert not rig.ledger.of(ESTIMATE), "the worker lives, so its own event settles"


async def test_frames_sent_again_fill_a_gap(rig: Rig) -> None:
    """A worker that resends its window is heard: nothing is lost, nothing doubled."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        attempt.send(Data(3, event("c")))
        await until(lambda: attempt.credits)
        for frame in (Data(1, event("a")), Data(2, event("b")), Data(3, event("c")), End(4)):
            attempt.send(frame)

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert without_pings(answer.content) == event("a") + event("b") + event("c") + DONE


async def test_lost_tail_shows(rig: Rig) -> None:
    """A sign of life that names a later frame than arrived reveals that the tail was lost."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("a"))
        await asyncio.sleep(0.1)
        attempt.send(Alive(2))

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert b'"error"' in answer.content


async def test_frames_of_another_attempt_are_cancelled(rig: Rig) -> None:
    """A frame of an attempt that is not current is dropped, and its worker told to stop."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.end(b"{}")
        attempt.data(event("too late"))

    rig.worker.script = script
    assert (await rig.chat()).content == b"{}"
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)


async def test_hang_up_cancels_at_once(rig: Rig) -> None:
    """A caller who leaves has the worker told at once; its lease is renewed on, and nothing is estimated here."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for number in range(1000):
            if attempt.cancelled.is_set():
                return
            attempt.data(event(str(number)))
            await asyncio.sleep(0.01)

    rig.worker.script = script
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with rig.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_raw():
            break
    waited = Ticks()
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)
    assert waited.s < 1
    assert rig.worker.attempts[0].left is True
    assert not rig.ledger.of(ESTIMATE)
    assert not rig.ledger.of(RELEASE)
    await until(lambda: rig.edge.load.requests == 0)
    assert rig.edge.budget.used == 0


async def test_hang_up_of_a_plain_call(rig: Rig) -> None:
    """The same for a caller who waits for a plain answer."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()

    rig.worker.script = script
    with pytest.raises(httpx.ReadTimeout):
        await rig.http.post(
            "/v1/chat/completions",
            json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]},
            timeout=httpx.Timeout(20, read=0.3),
        )
    await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 10)


@pytest.mark.parametrize("lost", [0, 3])
async def test_a_call_whose_caller_left_is_followed_until_it_is_recorded(rig: Rig, lost: int) -> None:
    """A worker's last word on a call that was left ends it here, whatever is missing before it."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await attempt.cancelled.wait()
        attempt.seq += lost
        attempt.fail(internal())

    rig.worker.script = script
    with pytest.raises(httpx.ReadTimeout):
        await rig.http.post("/v1/chat/completions", json=BODY, timeout=httpx.Timeout(20, read=0.3))
    await until(lambda: rig.edge.load.requests == 0 and len(rig.edge.relay) == 0)
    assert not rig.ledger.of(ESTIMATE)
    assert not rig.ledger.of(RELEASE)


async def test_a_caller_who_leaves_during_admission_is_not_waited_for(rig: Rig) -> None:
    """A caller who left while the ledger was asked keeps no place at this edge, however long the worker takes."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()

    rig.worker.script = script
    rig.ledger.silent = True
    with pytest.raises(httpx.ReadTimeout):
        await rig.http.post("/v1/chat/completions", json=BODY, timeout=httpx.Timeout(20, read=0.3))
    rig.ledger.silent = False
    await asyncio.wait_for((await until(lambda: rig.worker.attempts))[0].cancelled.wait(), 10)
    await until(lambda: rig.edge.load.requests == 0)
    assert rig.edge.budget.used == 0


async def test_slow_reader_is_held_back_by_credit(rig: Rig) -> None:
    """A caller who reads nothing stops its worker at 1 MiB; what it then reads is whole and in order."""
    piece = event("x" * 100_000)
    sent = 0

    async def script(attempt: Attempt) -> None:
        nonlocal sent
        attempt.accept()
        for _ in range(100):
            while (attempt.seq - (attempt.credits[-1] if attempt.credits else 0)) * len(piece) >= 2**20:
                await asyncio.sleep(0.005)
            attempt.data(piece)
            sent += 1
        attempt.end()

    rig.worker.script = script
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with rig.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        await asyncio.sleep(1)
        held = sent
        assert held < 80, "the socket's own buffers and one window"
        got = b"".join([piece async for piece in answer.aiter_raw()])
    assert without_pings(got) == piece * 100 + DONE


@pytest.mark.parametrize("rig", [msgspec.structs.replace(FAST, stall_s=0.5)], indirect=True)
async def test_reader_who_takes_nothing_has_left(rig: Rig) -> None:
    """A caller who takes nothing for too long though bytes wait is cut off, and its worker told."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        while not attempt.cancelled.is_set():
            if attempt.seq - (attempt.credits[-1] if attempt.credits else 0) < 10:
                attempt.data(event("x" * 100_000))
            await asyncio.sleep(0.005)

    rig.worker.script = script
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with rig.http.stream("POST", "/v1/chat/completions", json=body):
        await asyncio.wait_for(rig.worker.attempts[0].cancelled.wait(), 8)


async def test_estimate_counts_what_was_sent(rig: Rig) -> None:
    """When a worker dies in a stream, the books get the last usage it told and the output that was seen."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.usage(TokenUsage(input=11, output=1))
        attempt.data(event("x" * 40))
        await asyncio.sleep(0.2)
        await rig.worker.die()

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert answer.content.endswith(DONE)
    assert b'"error"' in answer.content
    estimate = (await until(lambda: rig.ledger.of(ESTIMATE)))[0]
    assert estimate.usage == TokenUsage(input=11, output=10)
    assert (estimate.failed, estimate.attempt) == (False, 1)
