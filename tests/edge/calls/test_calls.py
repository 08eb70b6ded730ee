"""Calls that go well, plain and streamed, over real HTTP and a real bus."""

import pytest
from msgspec import structs

from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.calls import AUTHORISE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import SCOPE, Attempt, completion, event


async def test_plain_answer_is_the_workers_body(rig: Rig) -> None:
    """A plain answer is the worker's JSON byte for byte, with OpenAI's headers and our request id."""
    answer = await rig.chat()
    assert answer.status_code == 200
    assert answer.content == completion("Hello there")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == rig.worker.attempts[0].job.request_id
    assert answer.headers["openai-version"] == "2020-10-01"
    assert int(answer.headers["openai-processing-ms"]) >= 0


async def test_stream_is_events_and_done(rig: Rig) -> None:
    """A stream is the worker's events as they are, then `[DONE]`, as an event stream that no proxy buffers."""
    answer = await rig.chat(stream=True)
    assert answer.content == event("Hello") + event(" there") + b"data: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"] == rig.worker.attempts[0].job.request_id


async def test_a_job_says_whose_it_is(rig: Rig) -> None:
    """A job carries what stands for its key, and never the key: workers tell the evidence of one key from another's by it."""
    await rig.chat()
    job = rig.worker.attempts[0].job
    assert job.scope == SCOPE
    assert rig.ledger.key not in repr(job)


async def test_large_plain_answer(rig: Rig) -> None:
    """A plain answer of any size comes whole, though only 1 MiB may be in flight."""
    piece = b"x" * 200_000

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for _ in range(40):
            attempt.data(piece)
        attempt.end(b"!")

    rig.worker.script = script
    answer = await rig.chat()
    assert answer.content == piece * 40 + b"!"


async def test_job_says_what_was_priced(rig: Rig) -> None:
    """The job carries the hold's figures, what was asked for, and the body re-encoded in the caller's order."""
    await rig.http.post(
        "/v1/chat/completions",
        content=b'{ "min_p": 1.50, "model":"tokn-sandbox" ,"n":2,"max_tokens":7,"usage":{"include":true},'
        b'"messages":[ {"role":"user","content":"h\\u0069"}],"stream":true,"stream_options":{"include_usage":true}}',
    )
    job = rig.worker.attempts[0].job
    assert job.body == (
        b'{"min_p":1.50,"model":"tokn-sandbox","n":2,"max_tokens":7,'
        b'"messages":[{"role":"user","content":"h\\u0069"}],"stream":true,"stream_options":{"include_usage":true}}'
    )
    assert (job.limit, job.choices, job.include_cost, job.include_usage, job.stream) == (
        7,
        2,
        True,
        True,
        True,
    )
    authorised = rig.ledger.of(AUTHORISE)[0]
    assert (authorised.limit, authorised.choices, authorised.prompt_max) == (7, 2, job.prompt_max)


async def test_a_batch_says_how_many_prompts_it_has(rig: Rig) -> None:
    """The ledger bounds a call by a context for each of its prompts, so it must know their number."""
    body = {"model": "tokn-sandbox", "prompt": ["a", "b", "c"], "n": 2}
    await rig.http.post("/v1/completions", json=body)
    authorised = rig.ledger.of(AUTHORISE)[0]
    assert (authorised.prompts, authorised.choices) == (3, 6)


@pytest.mark.parametrize(
    ("needs_limit", "asked", "granted", "written"),
    [
        (False, {}, 4_096, False),
        (True, {}, 4_096, True),
        (False, {"max_tokens": 4_096}, 4_096, False),
        (True, {"max_tokens": 4_096}, 4_096, False),
        (False, {"max_tokens": 5_000}, 4_096, True),
        (False, {"max_completion_tokens": 5_000}, 4_096, True),
        (False, {"max_tokens": 7, "max_completion_tokens": 5_000}, 4_096, True),
    ],
)
async def test_what_was_granted_is_what_is_sent(
    rig: Rig, needs_limit: bool, asked: dict[str, int], granted: int, written: bool
) -> None:
    """The worker writes the limit wherever the body and the upstream's own maximum would allow more than was granted."""
    rig.ledger.models = tuple(
        structs.replace(one, capabilities=structs.replace(one.capabilities, needs_limit=needs_limit))
        for one in BUILTIN
    )
    assert await rig.edge.catalogue.find("unknown: it is read again") is None
    await rig.chat(**asked)
    job = rig.worker.attempts[0].job
    assert (job.limit, job.write_limit) == (granted, written)
