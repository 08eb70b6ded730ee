"""Answers that a provider ends before any output: what it bills for them is our cost, never the caller's."""

import json
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.usage import Known
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes.estimated import output_tokens
from tests.workers.providers.anthropic.cases import job
from workers.calls.factors import Factors
from workers.calls.tries import HUNG_UP, Tries
from workers.providers.base import Fault
from workers.providers.faults import CUT
from workers.providers.openai.exchange import OpenAIExchange
from workers.providers.openai.family import OpenAI

GPT = next(model for model in BUILTIN if model.id == "gpt-4o")
OWN, OTHER = "https://api.openai.com/v1", "http://up/v1"
every_host = pytest.mark.parametrize("base_url", [OWN, OTHER])


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **more,
    }


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


ROLE = chunk({"role": "assistant", "content": ""})
COUNTED = chunk(None, usage=usage(9, 0))


def played(base_url: str, *chunks: dict[str, Any], done: bool) -> tuple[OpenAIExchange, bytes]:
    """A stream of these chunks that then ends."""
    (made,) = OpenAI().open(job({"stream": True}), GPT, {})
    assert isinstance(made, OpenAIExchange)
    made.request(AccountSettings(id="a", api_key="k", base_url=base_url))
    out = made.feed(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks))
    out += made.feed(b"data: [DONE]\n\n") if done else made.close()
    return made, out


def billed(made: OpenAIExchange, fault: Fault | None, *, caller_left: bool = False) -> Tries:
    """What its try comes to."""
    tries = Tries(job({"stream": True}), Factors())
    tries.record(made, account_id="a", status=200, fault=fault, exchanges=1, caller_left=caller_left)
    return tries


@every_host
def test_a_stream_cut_before_any_output_is_our_cost(base_url: str) -> None:
    """A role is no output: the caller is billed nothing, and the try what it may have cost."""
    made, _ = played(base_url, ROLE, done=False)
    tries = billed(made, made.fault)
    assert made.fault is CUT
    assert tries.usage == NO_USAGE
    assert tries.made[0].usage.prompt > 0


@every_host
def test_a_stream_cut_after_output_is_billed(base_url: str) -> None:
    """One word is."""
    made, _ = played(base_url, ROLE, chunk({"content": "Hi"}), done=False)
    assert billed(made, made.fault).usage.completion == output_tokens("Hi", job({}).upstream) > 0


@every_host
def test_a_caller_who_left_pays_by_the_rule(base_url: str) -> None:
    """The provider did not end that one: the prompt, and at least a token."""
    made, _ = played(base_url, ROLE, done=False)
    tries = billed(made, HUNG_UP, caller_left=True)
    assert (tries.usage.completion, tries.known) == (1, Known.ESTIMATED)
    assert tries.usage.prompt > 0


@pytest.mark.parametrize("chunks", [(ROLE,), (ROLE, COUNTED), (COUNTED,)])
def test_done_without_tokens_and_reason_is_free(chunks: tuple[dict[str, Any], ...]) -> None:
    """`[DONE]` alone is no answer, whatever prompt was counted."""
    made, _ = played(OWN, *chunks, done=True)
    assert made.finished
    assert billed(made, None).usage == NO_USAGE


@pytest.mark.parametrize(
    ("chunks", "used"),
    [
        ((ROLE, chunk({}, "stop"), COUNTED), TokenUsage(input=9)),
        ((chunk({}, "content_filter"), COUNTED), TokenUsage(input=9)),
        ((ROLE, chunk(None, usage=usage(9, 4))), TokenUsage(input=9, output=4)),
        ((ROLE, chunk({"content": "Hi"}), COUNTED), TokenUsage(input=9)),
    ],
)
def test_done_with_either_is_billed_as_reported(chunks: tuple[dict[str, Any], ...], used: TokenUsage) -> None:
    """A reason to end, output, or output that is counted and not shown."""
    made, _ = played(OWN, *chunks, done=True)
    tries = billed(made, None)
    assert (tries.usage, tries.known) == (used, Known.REPORTED)


@every_host
@pytest.mark.parametrize(
    ("content", "finish", "completion", "free"),
    [
        ("", None, 0, True),
        (None, None, 0, True),
        ("", "stop", 0, False),
        ("", None, 3, False),
        ("a", None, 0, False),
    ],
)
def test_plain_answers_are_judged_alike(
    base_url: str, content: str | None, finish: str | None, completion: int, free: bool
) -> None:
    """By what the provider itself wrote, also where its body is mended on its way, or comes in place of a stream."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    raw = json.dumps(body | {"usage": usage(9, completion)}).encode()
    for stream in (False, True) if base_url == OTHER else (False,):
        (made,) = OpenAI().open(job({"stream": stream}), GPT, {})
        assert isinstance(made, OpenAIExchange)
        made.request(AccountSettings(id="a", api_key="k", base_url=base_url))
        out = made.feed(raw) + made.close() if stream else made.answer(raw)
        assert made.finished, out
        assert (billed(made, made.fault).usage == NO_USAGE) is free
