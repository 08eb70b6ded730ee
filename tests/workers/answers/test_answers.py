"""What holds for every dialect's answer: the same events, told in its own bytes."""

import json

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from schemas.chat import request
from schemas.dialects.blobs import Blob
from schemas.dialects.messages.request import MESSAGES
from schemas.money.pricing import TokenUsage
from schemas.responses.request import RESPONSES
from tests.fakes.estimated import output_tokens
from tests.workers.providers.anthropic.cases import chunks, job
from workers.answers import ANSWERS, answers
from workers.answers.choices import ChoicesAnswer

DIALECTS = {request.CHAT, request.COMPLETIONS, RESPONSES, MESSAGES}
WITH_CHOICES = {request.CHAT, request.COMPLETIONS}
CHOICES = [made for made in ANSWERS if issubclass(made, ChoicesAnswer)]
CHUNK_TYPES = {request.CHAT: ChatCompletionChunk, request.COMPLETIONS: Completion}
BODY_TYPES = {request.CHAT: ChatCompletion, request.COMPLETIONS: Completion}
WITH_TOOLS = {request.CHAT}
USAGE = TokenUsage(input=3, output=4)

CHOICES = [made for made in ANSWERS if made.dialect in WITH_CHOICES]

every_answer = pytest.mark.parametrize("made", ANSWERS, ids=[made.dialect for made in ANSWERS])
with_choices = pytest.mark.parametrize("made", CHOICES, ids=[made.dialect for made in CHOICES])
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture(autouse=True)
def _still(monkeypatch):
    """Time stands still: some dialects say when an answer was complete."""
    monkeypatch.setattr("time.time", lambda: 1_795_632_968)


def one(made, **fields):
    """The only answer of a job in a dialect."""
    known = {"stream": True, "include_usage": True, "dialect": made.dialect}
    (answer,) = answers(job({}, **known | fields))
    return answer


def tell(answer):
    """Every typed event once, in order; the bytes that they give, without the end."""
    out = answer.open(0) + answer.text(0, "Grüße")
    answer.hidden("in secret: ")
    out += answer.reasoning(0, "Hm.") + answer.signature(0, Blob("anthropic", "m", "block", "proof"))
    out += answer.refusal(0, "nein")
    out += answer.tool(0, "call_1", "f") + answer.arguments(0, '{"a":') + answer.arguments(0, "1}")
    out += answer.tool_end(0) + answer.tool(0, "call_2", "g")
    return out + answer.finish(0, "stop")


def said(answer, out):
    """What a caller reads: the events of a stream, or the one body."""
    return chunks(out) if not answer._reply.plain else [json.loads(out)]


def test_every_dialect_has_one_answer():
    """Each name that the schemas know has exactly one answer, and no other name has any."""
    assert sorted(made.dialect for made in ANSWERS) == sorted(DIALECTS)
    for made in ANSWERS:
        assert type(one(made)) is made
    with pytest.raises(KeyError):
        answers(job({}, dialect="no such dialect"))


@with_choices
@streamed_or_plain
def test_the_same_events_give_valid_bytes(made, stream):
    """All events, streamed and plain, pass the official SDK's types."""
    answer = one(made, stream=stream)
    out = tell(answer)
    assert stream or out == b""
    pieces = said(answer, out + answer.end(USAGE))
    kind = (CHUNK_TYPES if stream else BODY_TYPES)[made.dialect]
    for piece in pieces:
        kind.model_validate(_plain(piece) if stream else piece, strict=True)
    assert len(pieces) > 1 or not stream


def _plain(piece):
    # The SDK's type of a legacy chunk is that of a body, whose finish reason is never null.
    if piece["object"] != "text_completion":
        return piece
    choices = [
        choice | {"finish_reason": choice["finish_reason"] or "stop"} for choice in piece.get("choices", ())
    ]
    return piece | {"choices": choices}


def test_output_is_the_same_number_of_bytes_in_every_dialect():
    """Whoever settles counts the same, whatever the caller speaks, streamed or plain."""
    counts = set()
    for made in ANSWERS:
        for stream in (True, False):
            answer = one(made, stream=stream)
            tell(answer)
            counts.add(answer.output_bytes)
    assert counts == {len("Grüße".encode()) + 11 + len("Hm.") + len("nein") + len('{"a":1}') + len("{}")}


@every_answer
@streamed_or_plain
def test_a_restart_forgets_everything(made, stream):
    """After a restart the same events give the same bytes and the same count as the first time."""
    fresh, again = one(made, stream=stream), one(made, stream=stream)
    tell(again)
    again.end(USAGE)
    again.restart()
    assert again.output_bytes == 0
    assert again.tool_calls(0) == 0
    assert not again.finished(0)
    assert tell(again) + again.end(USAGE) == tell(fresh) + fresh.end(USAGE)
    assert again.output_bytes == fresh.output_bytes


@with_choices
@streamed_or_plain
def test_a_second_finish_is_ignored(made, stream):
    """A choice ends once, with its first reason."""
    answer = one(made, stream=stream)
    out = answer.text(0, "x") + answer.finish(0, "length")
    assert answer.finished(0)
    assert answer.finish(0, "stop") == b""
    pieces = said(answer, out + answer.end(USAGE))
    reasons = [choice["finish_reason"] for piece in pieces for choice in piece["choices"]]
    assert [reason for reason in reasons if reason is not None] == ["length"]


@with_choices
@streamed_or_plain
def test_a_tool_without_arguments_gets_an_empty_object(made, stream):
    """Where the dialect has tools its arguments are "{}"; where it has none nothing of the call is shown."""
    answer = one(made, stream=stream)
    out = answer.tool(0, "call_1", "f") + answer.finish(0, "stop")
    assert answer.output_bytes == 2
    assert answer.tool_calls(0) == 1
    (shown,) = {"delta", "message", "text"} & set(
        said(answer, tail := out + answer.end(USAGE))[0]["choices"][0]
    )
    choices = [choice for piece in said(answer, tail) for choice in piece["choices"]]
    if made.dialect not in WITH_TOOLS:
        assert shown == "text"
        assert b"call_1" not in tail
        assert choices[-1]["finish_reason"] == "stop"
        return
    calls = [call for choice in choices for call in choice[shown].get("tool_calls") or ()]
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"
    assert choices[-1]["finish_reason"] == "tool_calls"


@with_choices
@pytest.mark.parametrize("asked", [True, False])
def test_usage_comes_once_and_only_where_it_was_asked_for(made, asked):
    """Asked for: null on every chunk, then one chunk without choices. Not asked for: on no chunk."""
    answer = one(made, include_usage=asked)
    pieces = chunks(answer.text(0, "x") + answer.finish(0, "stop") + answer.end(USAGE))
    if not asked:
        assert all("usage" not in piece for piece in pieces)
        return
    assert all(piece["usage"] is None for piece in pieces[:-1])
    assert pieces[-1]["choices"] == []
    assert pieces[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@every_answer
def test_usage_that_nobody_reported_is_estimated(made):
    """A plain body shows what the call will be billed by the estimation rule."""
    answer = one(made, stream=False)
    text = "A few words."
    answer.text(0, text)
    answer.finish(0, "stop")
    used = json.loads(answer.end(None))["usage"]
    assert (
        used.get("completion_tokens", used.get("output_tokens")) == output_tokens(text, job({}).upstream) > 2
    )
