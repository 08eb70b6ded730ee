"""What an edge tells of a call's money: the granted limit on every answer, the bill on plain ones, and who gets `cost`."""

from typing import Any

import pytest

from schemas.bus.frames import End
from schemas.errors import upstream_failed
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, completion, event
from tests.fakes.nats import NatsServer

GRANTED, COST = "x-tokn-granted-tokens", "x-tokn-cost-nano"


def ending(billed_nano: int | None) -> Any:
    """A script whose end frame says a bill."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("Hello") if attempt.job.stream else completion("Hello"))
        attempt.send(End(2, b"", billed_nano=billed_nano))

    return script


@pytest.mark.parametrize(
    ("asked", "granted"), [({"max_tokens": 7}, "7"), ({}, "4096"), ({"max_tokens": 7, "n": 3}, "7")]
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_every_answer_says_what_was_granted(
    rig: Rig, asked: dict[str, int], granted: str, stream: bool
) -> None:
    """The output tokens that the hold grants each choice: what was asked for, or what an unset limit came to."""
    answer = await rig.chat(stream=stream, **asked)
    assert answer.headers[GRANTED] == granted == str(rig.worker.attempts[0].job.limit)


@pytest.mark.parametrize("billed_nano", [0, 1, 123_456_789])
async def test_a_plain_answer_says_its_bill(rig: Rig, billed_nano: int) -> None:
    """In nano-dollars, as its worker has it; a stream's head leaves before there is one."""
    rig.worker.script = ending(billed_nano)
    assert (await rig.chat()).headers[COST] == str(billed_nano)
    assert COST not in (await rig.chat(stream=True)).headers


async def test_a_bill_that_is_not_certain_is_not_said(rig: Rig) -> None:
    """A worker that does not know it, or of the last version, says none."""
    rig.worker.script = ending(None)
    answer = await rig.chat()
    assert answer.status_code == 200
    assert COST not in answer.headers


async def test_an_error_says_neither(rig: Rig) -> None:
    """A call that fails was granted nothing that anybody used, and costs nothing."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(upstream_failed("no"))

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.status_code == 502
    assert not {GRANTED, COST} & set(answer.headers)


async def test_vectors_have_no_limit(rig: Rig) -> None:
    """A dialect without output has no limit to say."""
    rig.worker.script = ending(5)
    answer = await rig.http.post("/v1/embeddings", json={"model": "tokn-sandbox", "input": "x"})
    assert answer.status_code == 200
    assert answer.headers[COST] == "5"
    assert GRANTED not in answer.headers


@pytest.mark.parametrize(
    ("body", "cost", "usage"),
    [
        ({}, False, False),
        ({"usage": None}, False, False),
        ({"usage": {}}, False, False),
        ({"usage": {"include": None}}, False, False),
        ({"usage": {"include": False}}, False, False),
        ({"usage": {"include": True}}, True, True),
        ({"stream_options": {"include_usage": True}}, False, True),
    ],
)
async def test_a_wish_for_cost_is_one_for_usage(
    rig: Rig, body: dict[str, Any], cost: bool, usage: bool
) -> None:
    """A chat stream has no usage unless it is asked for: whoever asks for its cost gets both."""
    await rig.chat(stream=True, **body)
    job = rig.worker.attempts[0].job
    assert (job.include_cost, job.include_usage) == (cost, usage)
    assert (job.hold_nano, job.uplifts) == (1, None)  # as the hold says


async def test_an_operators_wish_adds_no_chunk(nats: NatsServer) -> None:
    """`usage_cost` has the cost told in whatever usage there is; a stream whose caller asks for none has none."""
    made = Rig(nats)
    made.usage_cost = True
    async with made.stack:
        await made.open(FAST)
        await made.chat(stream=True)
        await made.chat()
        jobs = [attempt.job for attempt in made.worker.attempts]
    assert [(job.include_cost, job.include_usage) for job in jobs] == [(True, False), (True, False)]
