"""What holds for every family: the same conversation, no clean end for a cut stream, and the cost of a chunk."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.anthropic import anthropic_capabilities
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.gemini import gemini_capabilities
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic_rules, bedrock_rules, conversation, costs, gemini_rules
from tests.fakes.dialects import Answer, anthropic_events, bedrock_events, gemini_events, openai_events
from tests.workers.providers.gemini.cases import job
from workers.providers import family
from workers.providers.base import Exchange

ACCOUNT = AccountSettings(
    id="main", api_key="k", region="us-east-1", access_key_id="AKIDEXAMPLE", secret_access_key="secret"
)
CHUNKS = 50
CPU_RATIO_MAX = 2.0
CPU_ROUNDS = 120  # of four streams, each so short that a neighbour on the machine spoils few


class Case(msgspec.Struct, frozen=True):
    """One family under test."""

    provider: str
    upstream: str
    able: Capabilities
    events: Callable[[Answer], list[bytes]]
    check: Callable[[bytes, Capabilities, str], object]

    @property
    def model(self) -> Model:
        """Its catalogue row."""
        return Model(
            id="M",
            pool=self.provider,
            provider=self.provider,
            upstream=self.upstream,
            context=200_000,
            max_output=8_192,
            capabilities=self.able,
        )


_CLAUDE = "claude-sonnet-4-5"
_BEDROCK = "global.anthropic.claude-opus-4-6-v1"
CASES = (
    Case(
        "openai",
        "gpt-4o",
        Capabilities(images=True, remote_images=True, json_schema=True, json_object=True),
        openai_events,
        lambda raw, able, upstream: json.loads(raw),
    ),
    Case(
        "anthropic",
        _CLAUDE,
        anthropic_capabilities(_CLAUDE),
        anthropic_events,
        lambda raw, able, upstream: anthropic_rules.check(raw, able),
    ),
    Case(
        "gemini",
        "gemini-x",
        gemini_capabilities("gemini-x"),
        gemini_events,
        lambda raw, able, upstream: gemini_rules.check(raw, able),
    ),
    Case(
        "bedrock",
        _BEDROCK,
        msgspec.structs.replace(
            bedrock_capabilities(_BEDROCK), messages=False
        ),  # by Converse in every dialect
        bedrock_events,
        lambda raw, able, upstream: bedrock_rules.check("ConverseStream", upstream, json.loads(raw)),
    ),
)
every_family = pytest.mark.parametrize("case", CASES, ids=[case.provider for case in CASES])

CALLS = Answer(
    (),
    TokenUsage(input=conversation.CALLS_USAGE["prompt"], output=conversation.CALLS_USAGE["completion"]),
    tuple(
        (f"call_{index}", conversation.TOOL_NAME, json.loads(text))
        for index, text in enumerate(conversation.ARGUMENTS)
    ),
)
TALK = msgspec.structs.replace(CALLS, pieces=("Let me ", "look. "))
ANSWER = Answer(
    conversation.ANSWER_PIECES,
    TokenUsage(input=conversation.ANSWER_USAGE["prompt"], output=conversation.ANSWER_USAGE["completion"]),
)


def streamed(body: dict[str, Any], case: Case) -> Job:
    """A job for a body that the model honours."""
    made = job(body, upstream=case.upstream, limit=500)
    assert refuse(case.model, CHAT, made.body) is None
    return made


def opened(case: Case, of: Job, thoughts: dict[str, str]) -> Exchange:
    """The exchange of a job, its request checked by the family's own rules."""
    (made,) = family(case.provider).open(of, case.model, thoughts)
    case.check(made.request(ACCOUNT).body, case.able, case.upstream)
    return made


def read(made: Exchange, data: bytes, size: int) -> tuple[conversation.Outcome, list[str]]:
    """What a caller sees of a stream that is read in pieces of `size` bytes; OpenAI's SDK must accept it too."""
    out = b"".join(made.feed(data[start : start + size]) for start in range(0, len(data), size))
    out += b"" if made.finished else made.close()
    assert made.fault is None
    assert made.finished
    events = [event.removeprefix(b"data: ") for event in out.split(b"\n\n")]
    chunks = [
        ChatCompletionChunk.model_validate_json(event) for event in events if event not in (b"", b"[DONE]")
    ]
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    seen, call_ids = conversation.outcome([chunk.model_dump() for chunk in chunks])
    (choice,) = state.get_final_completion().choices
    assert (choice.message.content or "", choice.finish_reason) == (seen.content, seen.finish_reason)
    assert [call.id for call in choice.message.tool_calls or ()] == call_ids
    return seen, call_ids


@every_family
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_the_same_conversation_gives_the_same_result(case, size):
    """System, image, two parallel tools, their results, a JSON answer: the caller cannot tell who answered."""
    first = opened(case, streamed(conversation.first_request("M"), case), {})
    seen, call_ids = read(first, b"".join(case.events(CALLS)), size)
    assert seen == conversation.FIRST
    of = streamed(
        conversation.second_request("M", call_ids) | {"response_format": conversation.JSON_ANSWER}, case
    )
    wanted = family(case.provider).thought_ids(of)
    second = opened(case, of, {name: first.thoughts[name] for name in wanted if name in first.thoughts})
    seen, _ = read(second, b"".join(case.events(ANSWER)), size)
    assert seen == conversation.SECOND
    for made, answer in ((first, CALLS), (second, ANSWER)):
        assert made.usage == answer.usage


@every_family
@pytest.mark.parametrize("answer", [TALK, ANSWER], ids=["tools", "text"])
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_c38_a_stream_cut_after_any_event_is_never_a_clean_end(case, answer, size):
    """Every event but the last leaves a fault that may be retried, no finished answer, and what was said by then."""
    body = conversation.first_request("M")
    events = case.events(answer)
    for count in range(len(events)):
        made = opened(case, streamed(body, case), {})
        data = b"".join(events[:count])
        for start in range(0, len(data), size):
            made.feed(data[start : start + size])
        made.close()
        assert not made.finished, count
        assert made.fault is not None, count
        assert made.fault.error.status in (502, 503, 504), count
        if made.usage is not None:
            assert made.usage.prompt in (0, answer.usage.prompt)


def _cpu_s(case: Case, events: list[bytes]) -> float:
    """CPU seconds of feeding one stream, an event a read."""
    one = opened(case, streamed(conversation.first_request("M"), case), {})
    began = time.process_time()
    for event in events:
        one.feed(event)
    if not one.finished:
        one.close()
    spent_s = time.process_time() - began
    assert one.finished
    return spent_s


@pytest.mark.alone
@pytest.mark.parametrize("case", CASES[1:], ids=[case.provider for case in CASES[1:]])
def test_cpu_of_a_translated_stream_is_within_twice_the_pass_through(case):
    """A stream of 50 chunks costs a translated family at most twice what it costs the pass-through."""
    answer = Answer(tuple(f"word{index} " for index in range(CHUNKS)), TokenUsage(input=40, output=50))
    mine, passed = case.events(answer), CASES[0].events(answer)
    found = costs.ratio(lambda: _cpu_s(case, mine), lambda: _cpu_s(CASES[0], passed), CPU_ROUNDS)
    assert found <= CPU_RATIO_MAX, f"{case.provider}: {found:.2f}"


@every_family
@pytest.mark.parametrize("answer", [TALK, ANSWER], ids=["tools", "text"])
def test_another_request_starts_afresh(case, answer):
    """After half of one answer a second try gives the bytes, count and usage that a first one gives."""
    of = streamed(conversation.first_request("M"), case)
    events = case.events(answer)
    tried, fresh = opened(case, of, {}), opened(case, of, {})
    tried.feed(b"".join(events[: len(events) // 2]))
    again = tried.request(ACCOUNT)
    assert again.body == fresh.request(ACCOUNT).body
    assert (tried.usage, tried.output_bytes, tried.fault, tried.finished) == (None, 0, None, False)
    outs = [made.feed(b"".join(events)) + (b"" if made.finished else made.close()) for made in (tried, fresh)]
    assert conversation.outcome(_chunks(outs[0]))[0] == conversation.outcome(_chunks(outs[1]))[0]
    assert (tried.usage, tried.output_bytes) == (fresh.usage, fresh.output_bytes)
    assert tried.finished
    assert fresh.finished


def _chunks(out: bytes) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in out.split(b"\n\n")]
    return [json.loads(event) for event in events if event not in (b"", b"[DONE]")]


@every_family
@pytest.mark.parametrize("body", [b"", b"\xff", b"<html>", b"[" * 5_000, b'{"error":7}', b"{}"])
def test_any_error_answer_is_a_fault(case, body):
    """Whatever the status and the body, a family has a word for it, with an error status that callers know."""
    made = family(case.provider)
    for status in (300, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529):
        fault = made.fault(status, {}, body)
        assert 400 <= fault.error.status <= 599
        assert fault.error.message


@every_family
def test_nothing_follows_a_fault(case):
    """Nonsense ends an exchange: bytes that come after it give nothing."""
    made = opened(case, streamed(conversation.first_request("M"), case), {})
    made.feed(b"data: {]\n\n" * 3 + b"\x00" * 64)
    made.close()
    assert made.fault is not None
    assert made.feed(b"".join(case.events(ANSWER))) == b""
    assert made.close() == b""
    assert not made.finished
