"""Gemini's answers and streams as callers see them: fixtures, cuts, finish reasons, tool calls, blocks."""

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from schemas.chat.request import CHAT, COMPLETIONS
from tests.workers.providers.gemini.cases import (
    FIXTURES,
    chunks,
    deltas,
    exchange,
    fixture,
    job,
    model,
    play,
    said,
    stream_job,
    wire,
)
from workers.providers.gemini import family

SIZES = (0, 1, 2, 3, 1000)
TEXT = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "index": 0}]}
STOP = {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]}


def called(*calls, **more):
    """A chunk of one candidate with function calls."""
    return {"candidates": [{"content": {"parts": [{"functionCall": call} for call in calls]}} | more]}


@pytest.fixture
def named_calls(monkeypatch):
    """Makes the ids of calls predictable."""
    monkeypatch.setattr(family, "new_call_id", lambda: "call_new")


@pytest.mark.parametrize("size", SIZES)
def test_e2_tool_call_byte_for_byte(named_calls, size):
    """A tool call and its trailing STOP give exactly the caller's stream of the protocol notes, however it is cut."""
    made = exchange(stream_job())
    assert play(made, wire(fixture("e2.jsonl")), size) == (FIXTURES / "e2.client").read_bytes()
    assert made.thoughts == {"call_new": "c2ln"}
    assert made.finished
    assert made.fault is None


@pytest.mark.parametrize("size", SIZES)
def test_e5_error_after_content(size):
    """An error event after content is a fault with the caller's words; what came before it was delivered."""
    made = exchange(stream_job())
    out = play(made, wire(fixture("e5.jsonl")), size)
    assert deltas(out) == {"content": "Hi", "calls": [], "reasons": []}
    assert made.fault is not None
    assert not made.finished
    assert not made.fault.unbilled
    assert made.output_bytes == 2
    assert made.fault.error.event() == (
        b'data: {"error":{"message":"The upstream provider is overloaded.",'
        b'"type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}\n\n'
    )


@pytest.mark.parametrize("stream", [False, True])
def test_e6_blocked_prompt(stream):
    """A blocked prompt is one choice without content that ends by content_filter, its prompt tokens counted."""
    (event,) = fixture("e6.jsonl")
    if stream:
        made = exchange(stream_job())
        out = play(made, wire([event]))
        assert deltas(out) == {"content": "", "calls": [], "reasons": ["content_filter"]}
        usage = chunks(out)[-1]["usage"]
    else:
        made = exchange(job({}))
        body = json.loads(made.answer(event.encode()))
        (choice,) = body["choices"]
        assert choice["message"] == {"role": "assistant", "content": None, "refusal": None}
        assert choice["finish_reason"] == "content_filter"
        usage = body["usage"]
    assert usage == {"prompt_tokens": 19, "completion_tokens": 0, "total_tokens": 19}
    assert made.fault is None


@pytest.mark.parametrize("name", ["e2.jsonl", "parallel.jsonl", "text.jsonl", "choices.jsonl"])
@pytest.mark.parametrize("size", [0, 1])
def test_cut_after_each_event_is_never_a_clean_end(name, size):
    """A stream that ends after any event but the last is a fault: no finish reason, no usage chunk."""
    events = fixture(name)
    for count in range(len(events)):
        made = exchange(stream_job(n=2), model(n_max=8))
        out = play(made, wire(events[:count]), size)
        assert made.fault is not None, count
        assert made.fault.error.status == 502
        assert not made.finished
        assert all(choice["finish_reason"] is None for chunk in chunks(out) for choice in chunk["choices"])
        assert all(chunk["choices"] for chunk in chunks(out))
    made = exchange(stream_job(n=2), model(n_max=8))
    play(made, wire(events), size)
    assert made.finished


def test_cut_inside_an_event_is_a_fault():
    """Half an event at the end of file is no event, whatever the halves hold."""
    data = wire(fixture("e2.jsonl"))
    for end in range(0, len(data) - 2, 11):
        made = exchange(stream_job())
        play(made, data[:end])
        assert made.fault is not None


@pytest.mark.parametrize("size", SIZES)
def test_parallel_calls_with_text_and_thoughts(named_calls, size):
    """Text, thoughts and three calls, two of them in one chunk: indexes count up, each id is said once."""
    made = exchange(stream_job())
    out = play(made, wire(fixture("parallel.jsonl")), size)
    assert deltas(out) == {
        "content": "Let me look. ",
        "calls": [
            {"id": "fc1", "name": "weather", "arguments": '{"city":"東京"}'},
            {"id": "fc2", "name": "weather", "arguments": '{"city":"Zürich 🏔"}'},
            {"id": "call_new", "name": "now", "arguments": "{}"},
        ],
        "reasons": ["tool_calls"],
    }
    assert made.thoughts == {"fc1": "c2lnMQ=="}
    assert b'"delta":{"reasoning_content":"Thinking about it' in out
    assert made.output_bytes > len("Thinking about it") + len("Let me look. ")


def test_plain_answer_of_the_same_events(named_calls):
    """A plain answer, pretty-printed as Google sends it, says the same as the stream and satisfies the SDK's type."""
    parts = [
        part
        for line in fixture("parallel.jsonl")
        for part in json.loads(line)["candidates"][0]["content"]["parts"]
    ]
    usage = json.loads(fixture("parallel.jsonl")[-1])["usageMetadata"]
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}
    made = exchange(job({}))
    body = json.loads(made.answer(json.dumps(answer, indent=2, ensure_ascii=False).encode()))
    (choice,) = ChatCompletion.model_validate(body).choices
    assert choice.message.content == "Let me look. "
    assert choice.finish_reason == "tool_calls"
    assert [(call.id, call.function.arguments) for call in choice.message.tool_calls] == [
        ("fc1", '{"city":"東京"}'),
        ("fc2", '{"city":"Zürich 🏔"}'),
        ("call_new", "{}"),
    ]
    assert body["usage"]["total_tokens"] == 90
    assert made.finished


def test_c06_c12_usage_is_null_and_finish_reason_is_said_once():
    """Models that say STOP on every chunk still get one finish reason, and every chunk but the last a null usage."""
    made = exchange(stream_job())
    out = play(
        made,
        wire(
            [said("a", finishReason="STOP"), said("b", finishReason="STOP"), said("c", finishReason="STOP")]
        ),
    )
    assert deltas(out) == {"content": "abc", "calls": [], "reasons": ["stop"]}
    seen = chunks(out)
    for chunk in seen:
        ChatCompletionChunk.model_validate(chunk)
    assert all(chunk["usage"] is None for chunk in seen[:-1])
    assert seen[-1]["choices"] == []


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS])
def test_c04_c49_usage_chunk_has_empty_choices(dialect):
    """The usage chunk has the key `choices`, and nothing in it, on both endpoints."""
    body = {"prompt": "hi"} if dialect == COMPLETIONS else {}
    of = job(body | {"stream": True, "stream_options": {"include_usage": True}}, dialect=dialect)
    last = chunks(play(exchange(of), wire(fixture("text.jsonl"))))[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 11


def test_c15_the_first_chunk_has_the_role():
    """A stream opens with the assistant's role, also when its first event is hidden thoughts or a tool call."""
    for name in ("text.jsonl", "e2.jsonl", "parallel.jsonl"):
        first = chunks(play(exchange(stream_job()), wire(fixture(name))))[0]
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_c05_no_usage_chunk_unasked():
    """Without include_usage there is no usage key and no chunk without choices."""
    made = exchange(job({"stream": True}))
    seen = chunks(play(made, wire(fixture("e2.jsonl"))))
    assert all("usage" not in chunk and chunk["choices"] for chunk in seen)
    assert made.usage is not None


def test_c07_usage_in_a_chunk_without_choices_is_read():
    """A trailing chunk with an empty list of candidates still counts."""
    made = exchange(stream_job())
    usage = {
        "candidates": [],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9},
    }
    out = play(made, wire([TEXT, STOP, usage]))
    assert chunks(out)[-1]["usage"]["total_tokens"] == 9


def test_c11_finish_is_tool_calls_if_any_chunk_had_one():
    """The tool call is remembered across chunks though the last one says STOP with an empty text."""
    made = exchange(stream_job())
    out = play(made, wire([called({"name": "f", "args": {}}), said(""), said("", finishReason="STOP")]))
    assert deltas(out)["reasons"] == ["tool_calls"]


def test_c13_c14_c16_parallel_calls_have_indexes_strings_and_ids_of_their_own():
    """Calls of one chunk and of the next count up from 0; arguments are JSON texts; nothing is said twice."""
    made = exchange(stream_job())
    out = play(
        made,
        wire(
            [
                called({"name": "f", "args": {"a": 1}}, {"name": "f", "args": {"a": 2}}),
                called({"name": "g"}),
                STOP,
            ]
        ),
    )
    calls = deltas(out)["calls"]
    assert [call["name"] for call in calls] == ["f", "f", "g"]
    assert [json.loads(call["arguments"]) for call in calls] == [{"a": 1}, {"a": 2}, {}]
    assert len({call["id"] for call in calls}) == 3
    assert all(call["id"].startswith("call_") for call in calls)
    roles = [c["delta"]["role"] for chunk in chunks(out) for c in chunk["choices"] if "role" in c["delta"]]
    assert roles == ["assistant"]


@pytest.mark.parametrize(
    "feedback", [{"blockReason": "SAFETY"}, {"blockReason": ""}, {"blockReason": "OTHER"}]
)
def test_c17_c18_c19_blocked_prompt_is_a_legitimate_answer(feedback):
    """A block with any reason, even a blank one, ends in content_filter and is no fault of the account."""
    made = exchange(stream_job())
    out = play(made, wire([{"promptFeedback": feedback}]))
    assert deltas(out)["reasons"] == ["content_filter"]
    assert made.fault is None


@pytest.mark.parametrize("body", [{}, {"candidates": []}, {"usageMetadata": {"promptTokenCount": 3}}])
def test_c17_zero_candidates_without_feedback_is_a_fault(body):
    """A 200 with nothing in it never passes as an answer, plain or streamed."""
    plain, streamed = exchange(job({})), exchange(stream_job())
    assert plain.answer(json.dumps(body).encode()) == b""
    assert play(streamed, wire([body])) == b""
    for made in (plain, streamed):
        assert made.fault is not None
        assert made.fault.error.status == 502


def test_c38_eof_without_a_finish_reason_is_a_fault():
    """Content and then the end of file is a failure, never an empty or short success."""
    made = exchange(stream_job())
    out = play(made, wire([TEXT]))
    assert deltas(out) == {"content": "Hi", "calls": [], "reasons": []}
    assert made.fault is not None
    assert made.fault.error.code == "upstream_error"
    assert not made.fault.unbilled


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}},
        {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}, "candidates": []},
        [{"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}],
    ],
)
def test_c41_error_as_the_first_event_of_a_200(event):
    """An error event is one before anything else is looked at, wrapped in a list or not; nothing was served."""
    made = exchange(stream_job())
    assert play(made, wire([event])) == b""
    assert made.fault is not None
    assert made.fault.error.status == 503
    assert made.fault.unbilled
    plain = exchange(job({}))
    assert plain.answer(json.dumps(event).encode()) == b""
    assert plain.fault is not None
    assert plain.fault.error.status == 503


def test_c43_characters_cut_in_halves():
    """Multi-byte characters that a read cuts anywhere come out whole."""
    text = "日本語 🏔️ Zürich"
    data = wire([json.dumps(said(text), ensure_ascii=False), STOP])
    for size in (1, 2, 3, 5):
        assert deltas(play(exchange(stream_job()), data, size))["content"] == text


def test_c46_signatures_are_kept_by_call_id():
    """Each signed call leaves its signature under the id that the caller got; unsigned ones leave none."""
    parts = [
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "QQ=="},
        {"functionCall": {"name": "g", "args": {}}},
    ]
    made = exchange(stream_job())
    out = play(made, wire([{"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}]))
    assert made.thoughts == {deltas(out)["calls"][0]["id"]: "QQ=="}


def test_c47_choices_keep_their_index_and_one_id():
    """Two candidates interleave by index; id, created and model are the same on every chunk."""
    made = exchange(stream_job(n=2), model(n_max=8))
    out = play(made, wire(fixture("choices.jsonl")))
    assert deltas(out, 0) == {"content": "one two", "calls": [], "reasons": ["stop"]}
    assert deltas(out, 1) == {"content": "eins zwei", "calls": [], "reasons": ["length"]}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks(out)}) == 1
