"""Calls that wait for a place: what their answers say, in every dialect, and whose places count."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, completion, event, until

PATIENT = msgspec.structs.replace(FAST, full_wait_s=30.0)
TIGHT = msgspec.structs.replace(PATIENT, waiting_per_key=2)


class Gate:
    """A worker that has so many places, and ends a call when it is told to."""

    def __init__(self, rig: Rig, places: int) -> None:
        self.open = asyncio.Event()
        self.worker = rig.worker
        rig.worker.capacity = places
        rig.worker.script = self._script
        rig.worker.beat()
        self._rig = rig

    async def known(self) -> "Gate":
        """Waits until the edge knows how many places there are."""
        await until(lambda: self._rig.edge.roster.places("sandbox") == self.worker.capacity)
        return self

    async def _script(self, attempt: Attempt) -> None:
        attempt.accept()
        await self.open.wait()
        if attempt.job.stream:
            attempt.data(event("Hello"))
            attempt.end()
        else:
            attempt.end(completion("Hello"))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
async def test_an_answer_says_how_long_its_call_waited(rig: Rig, stream: bool) -> None:
    """A call that had no place at once says in a header how long it waited; one that had one has no such header."""
    gate = await Gate(rig, 1).known()
    first = asyncio.create_task(rig.chat(stream=stream))
    await until(lambda: rig.worker.attempts)
    second = asyncio.create_task(rig.chat(stream=stream))
    await until(rig.edge.relay.turns.waiting)
    await asyncio.sleep(0.05)
    assert len(rig.worker.attempts) == 1, "it is not even offered"
    assert "\ntokn_edge_waiting_calls 1.0\n" in (await rig.http.get("/metrics")).text
    gate.open.set()
    answers = [await first, await second]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "x-tokn-queue-ms" not in answers[0].headers
    assert 50 <= int(answers[1].headers["x-tokn-queue-ms"]) <= PATIENT.full_wait_s * 1000


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "/v1/chat/completions": (
        {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]},
        ("error", "type", "rate_limit_error"),
    ),
    "/v1/messages": (
        {"model": "tokn-sandbox", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        ("error", "type", "rate_limit_error"),
    ),
    "/v1/responses": ({"model": "tokn-sandbox", "input": "hi"}, ("error", "type", "rate_limit_error")),
}


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_wait_that_is_over_is_a_429(rig: Rig, path: str, stream: bool) -> None:
    """Who has waited for long enough gets a 429 in the envelope of its dialect, when to come back, and how long it waited."""
    gate = await Gate(rig, 1).known()
    first = asyncio.create_task(rig.chat())
    await until(lambda: rig.worker.attempts)
    body, (outer, inner, told) = REFUSED[path]
    answer = await rig.http.post(path, json=body | {"stream": stream})
    assert answer.status_code == 429
    assert answer.json()[outer][inner] == told
    assert answer.headers["retry-after"] == "1"
    assert int(answer.headers["x-tokn-queue-ms"]) >= FAST.full_wait_s * 1000
    gate.open.set()
    assert (await first).status_code == 200


@pytest.mark.parametrize("rig", [TIGHT], indirect=True)
async def test_one_key_waits_with_so_many_calls(rig: Rig) -> None:
    """A key's calls beyond those that may wait are refused at once, while those that wait are served in their turn."""
    gate = await Gate(rig, 1).known()
    calls = [asyncio.create_task(rig.chat())]
    await until(lambda: rig.worker.attempts)
    calls += [asyncio.create_task(rig.chat()) for _ in range(5)]
    await until(lambda: sum(call.done() for call in calls) == 3)
    assert {call.result().status_code for call in calls if call.done()} == {429}
    gate.open.set()
    assert sorted([(await call).status_code for call in calls]) == [200] * 3 + [429] * 3


@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
async def test_a_call_whose_caller_has_left_keeps_its_place(rig: Rig) -> None:
    """While a worker still has an abandoned call, its place is nobody else's; then it is the next one's."""
    gate = await Gate(rig, 1).known()
    with pytest.raises(httpx.ReadTimeout):
        await rig.http.post(
            "/v1/chat/completions",
            json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]},
            timeout=0.5,
        )
    abandoned = rig.worker.attempts[0]
    await asyncio.wait_for(abandoned.cancelled.wait(), 10)
    call = asyncio.create_task(rig.chat())
    await until(rig.edge.relay.turns.waiting)
    rig.worker.beat()
    await asyncio.sleep(0.1)
    assert len(rig.worker.attempts) == 1
    gate.open.set()
    assert (await call).status_code == 200
