"""Streams and plain answers of Anthropic's, told in OpenAI's shapes: fixtures byte for byte, cuts, endings, oddities."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.money.pricing import TokenUsage
from tests.fakes.anthropic import ending, framed, opening, texts, tool_use, whole
from tests.fakes.estimated import output_tokens, prompt_tokens
from tests.workers.providers.anthropic.cases import (
    ACCOUNT,
    FIXTURES,
    OLD,
    TOOL,
    chunks,
    deltas,
    exchange,
    job,
    play,
    stream_job,
)
from workers.providers.base import Action

E1 = (FIXTURES / "e1.sse").read_bytes()
E1_CLIENT = (FIXTURES / "e1.client").read_bytes()
SCHEMA = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
    }
}


@pytest.mark.parametrize("size", [1, 7, len(E1)])
def test_e1_byte_for_byte(size):
    """Text and a tool call give exactly OpenAI's chunks, wherever the reads are cut."""
    made = exchange(stream_job())
    out = b"".join(made.feed(E1[start : start + size]) for start in range(0, len(E1), size)) + made.close()
    assert out == E1_CLIENT
    assert made.finished
    assert made.fault is None
    assert (made.usage.prompt, made.usage.completion, made.usage.reasoning) == (115, 42, 7)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
def test_e1_with_other_line_ends(line_end):
    """CRLF and CR frame events as LF does."""
    made = exchange(stream_job())
    data = E1.replace(b"\n", line_end) + line_end
    assert made.feed(data) + made.close() == E1_CLIENT


@given(st.lists(st.integers(0, len(E1)), max_size=20))
def test_any_cut_gives_the_same_bytes(places):
    """However a stream is cut into reads, the caller's bytes are the same."""
    cuts = [0, *sorted(places), len(E1)]
    made = exchange(stream_job())
    out = b"".join(made.feed(E1[a:b]) for a, b in pairwise(cuts))
    assert out + made.close() == E1_CLIENT


@pytest.mark.parametrize("size", [1, 10_000])
def test_e5_failure_after_content(size):
    """An error event after content ends in OpenAI's error event, billed for what was sent."""
    data = (FIXTURES / "e5.sse").read_bytes()
    made = exchange(stream_job())
    out = (
        b"".join(made.feed(data[start : start + size]) for start in range(0, len(data), size)) + made.close()
    )
    assert made.fault is not None
    assert out + made.fault.error.event() == (FIXTURES / "e5.client").read_bytes()
    assert not made.finished
    assert not made.fault.unbilled
    assert made.usage.prompt == 115
    assert made.output_bytes == 2


def test_a_last_event_without_its_blank_line():
    """A message_stop that the end of file completes is an end; half of one is a cut."""
    made = exchange(stream_job())
    assert made.feed(E1[:-2]) + made.close() == E1_CLIENT
    assert made.finished
    made = exchange(stream_job())
    made.feed(E1[:-6])
    made.close()
    assert made.fault is not None


def test_e5_first_event_is_an_error():
    """An error as the first event of a 200 is worth another account, and nothing of it is billed."""
    made = exchange(stream_job())
    assert (
        play(made, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}) == b""
    )
    assert made.fault.error.status == 503
    assert made.fault.action is Action.NEXT
    assert made.fault.unbilled


def test_e6_refusal_before_output():
    """A refusal without output is a content_filter answer with null content, and costs nothing."""
    made = exchange(job({}))
    body = json.loads(made.answer((FIXTURES / "e6.json").read_bytes()))
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": None},
            "logprobs": None,
            "finish_reason": "content_filter",
        }
    ]
    assert made.finished
    assert (made.usage.prompt, made.usage.completion) == (0, 0)


def test_e6_refusal_in_a_stream():
    """The same in a stream; one after some output is billed."""
    made = exchange(stream_job())
    out = play(made, opening(input_tokens=412), *ending("refusal", output_tokens=0))
    assert chunks(out)[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert made.usage.prompt == 0
    made.request(ACCOUNT)
    play(made, opening(input_tokens=412), *texts("I"), *ending("refusal", output_tokens=1))
    assert (made.usage.prompt, made.usage.completion) == (412, 1)


@pytest.mark.parametrize("count", range(len(E1.split(b"\n\n")) - 2))
def test_c38_a_cut_after_each_event_is_a_fault(count):
    """An end of file before message_stop is never a clean end, and what came before it is whole."""
    made = exchange(stream_job())
    out = made.feed(b"\n\n".join(E1.split(b"\n\n")[:count]) + b"\n\n") + made.close()
    assert made.fault is not None
    assert made.fault.error.status == 502
    assert not made.finished
    assert E1_CLIENT.startswith(out)
    assert b'"finish_reason":"' not in out


def test_c02_cached_reads_of_the_opening_reach_the_final_usage():
    """A message_delta without cache figures does not lose those of message_start."""
    made = exchange(stream_job())
    out = play(made, opening(cache_read_input_tokens=100), *texts("Hi"), *ending())
    assert chunks(out)[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 100}
    assert made.usage.cached == 100


def test_c03_running_totals_overwrite():
    """The usage of message_delta replaces what was said before; several of them are not added up."""
    made = exchange(stream_job())
    deltas_seen = [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": n}} for n in (5, 9)]
    play(
        made,
        opening(input_tokens=10),
        *texts("Hi"),
        *deltas_seen,
        *ending(output_tokens=12, input_tokens=None),
    )
    assert (made.usage.prompt, made.usage.completion) == (10, 12)


def test_c04_c06_usage_chunk_and_nulls():
    """With usage asked for, its chunk has empty choices and all others say null."""
    out = chunks(play(exchange(stream_job()), opening(), *texts("Hi"), *ending()))
    assert out[-1]["choices"] == []
    assert [chunk["usage"] for chunk in out[:-1]] == [None] * (len(out) - 1)


def test_c05_no_usage_unasked():
    """Without being asked there is no usage chunk, and no usage key."""
    out = chunks(play(exchange(job({"stream": True})), opening(), *texts("Hi"), *ending()))
    assert all("usage" not in chunk and chunk["choices"] for chunk in out)


def test_c10_totals_add_up():
    """Prompt and completion add up to total, on the plain body too."""
    made = exchange(job({}))
    usage = json.loads(made.answer(json.dumps(whole((opening(), *texts("Hi"), *ending()))).encode()))["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] == 5


def test_c12_one_finish_reason():
    """finish_reason is null on every chunk but one."""
    out = chunks(play(exchange(stream_job()), opening(), *texts("a", "b"), *ending()))
    reasons = [choice["finish_reason"] for chunk in out for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]


def test_c13_c14_c16_parallel_calls():
    """Parallel calls have sequential indexes, and each id, name and role is said exactly once."""
    calls = [*tool_use("toolu_1", "f", '{"a"', ":1}"), *tool_use("toolu_2", "f", index=1)]
    out = deltas(play(exchange(stream_job(tools=[TOOL])), opening(), *calls, *ending("tool_use")))
    pieces = [call for delta in out for call in delta.get("tool_calls", ())]
    assert [piece["index"] for piece in pieces] == [0, 0, 0, 1, 1]
    assert [piece.get("id") for piece in pieces] == ["toolu_1", None, None, "toolu_2", None]
    assert [piece["function"].get("name") for piece in pieces] == ["f", None, None, "f", None]
    assert [piece["function"]["arguments"] for piece in pieces] == ["", '{"a"', ":1}", "", "{}"]
    assert [delta.get("role") for delta in out].count("assistant") == 1


def test_c15_the_first_chunk_has_the_role():
    """A stream opens with the role and empty content."""
    out = deltas(play(exchange(stream_job()), opening(), *tool_use("t", "f", "{}"), *ending("tool_use")))
    assert out[0] == {"role": "assistant", "content": ""}


def test_c19_an_empty_filtered_answer_is_an_answer():
    """content_filter with nothing said is a clean end, no fault."""
    made = exchange(stream_job())
    play(made, opening(), *ending("refusal", output_tokens=0))
    assert made.finished
    assert made.fault is None


def test_c35_a_reported_zero_is_a_value():
    """Zero output tokens are reported as zero, not estimated."""
    made = exchange(stream_job())
    play(made, opening(input_tokens=7), *ending("max_tokens", output_tokens=0))
    assert made.usage.completion == 0
    assert made.usage.prompt == 7


def test_a_later_zero_lowers_nothing():
    """A server that counts anew at the end sends zeros for what it has said: the running totals stay."""
    start = opening(input_tokens=1000, cache_read_input_tokens=500, cache_creation_input_tokens=7)
    start["message"]["usage"]["cache_creation"] = {
        "ephemeral_5m_input_tokens": 3,
        "ephemeral_1h_input_tokens": 4,
    }
    zeros = {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    zeros["cache_creation"] = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    made = exchange(stream_job())
    play(made, start, *texts("hi"), *ending(output_tokens=9, **zeros))
    assert made.usage == TokenUsage(input=1000, cached=500, cache_write=3, cache_write_long=4, output=9)


def test_a_later_zero_of_output_lowers_only_the_placeholder():
    """The opening's output is a placeholder that any figure replaces; what a later event said stays."""
    made = exchange(stream_job())
    first = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}
    play(made, opening(input_tokens=7), *texts("hi"), first, *ending(output_tokens=0))
    assert made.usage.completion == 9


def test_a_first_zero_stays_zero():
    """A prompt of 0 that nothing corrects is 0."""
    made = exchange(stream_job())
    play(made, opening(input_tokens=0), *texts("hi"), *ending(output_tokens=0))
    assert (made.usage.prompt, made.usage.completion) == (0, 0)


def test_c43_characters_survive_any_cut():
    """Characters of several bytes come out whole from reads of one byte."""
    text = "日本語 🎉 é"
    made = exchange(stream_job())
    data = b"".join(framed(event) for event in (opening(), *texts(text), *ending()))
    out = b"".join(made.feed(data[i : i + 1]) for i in range(len(data)))
    assert "".join(delta.get("content", "") for delta in deltas(out)) == text


def test_c47_one_id_on_all_chunks():
    """id, created and model are the same on every chunk."""
    out = chunks(play(exchange(stream_job()), opening(), *texts("a", "b"), *ending()))
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in out} == {("chatcmpl-1", 1, "M")}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("of_another_day", "stop"),
    ],
)
def test_stop_reasons(reason, finish):
    """Every way of ending has OpenAI's word."""
    out = chunks(play(exchange(stream_job()), opening(), *texts("a"), *ending(reason)))
    assert out[-2]["choices"][0]["finish_reason"] == finish


def test_thinking_is_counted_and_shown_as_other_servers_show_it():
    """Thinking is `reasoning_content` and counts for estimates; signatures, citations and unknown events reach no caller."""
    events = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hmm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "of_another_day", "x": 1},
        {"type": "ping"},
    ]
    made = exchange(stream_job())
    out = deltas(play(made, opening(), *events, *texts("Hi", index=1), *ending()))
    assert out == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hmm"},
        {"content": "Hi"},
        {},
    ]
    assert made.output_bytes == 5


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_by_a_tool_is_content(stream):
    """Where a schema is asked for through a forced tool, its input is the content and the finish is stop."""
    events = (opening(), *tool_use("t", "answer", '{"a"', ": 1}"), *ending("tool_use"))
    if stream:
        out = chunks(play(exchange(stream_job(**SCHEMA)), *events))
        assert "".join(c["delta"].get("content", "") for chunk in out for c in chunk["choices"]) == '{"a": 1}'
        assert out[-2]["choices"][0]["finish_reason"] == "stop"
    else:
        choice = json.loads(exchange(job(SCHEMA)).answer(json.dumps(whole(events)).encode()))["choices"][0]
        assert json.loads(choice["message"]["content"]) == {"a": 1}
        assert choice["finish_reason"] == "stop"
        assert "tool_calls" not in choice["message"]


def test_plain_answer_with_tools():
    """A plain answer with only tools has null content and whole arguments."""
    events = (opening(), *tool_use("t1", "f", '{"a":1}'), *tool_use("t2", "f", index=1), *ending("tool_use"))
    made = exchange(job({"tools": [TOOL]}))
    choice = json.loads(made.answer(json.dumps(whole(events)).encode()))["choices"][0]
    assert choice["message"]["content"] is None
    calls = choice["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"a": 1}, {}]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"<html>", b'{"type":"message","content":7}', b"\xff\xfe", b'{"type":"other"}'],
)
def test_nonsense_instead_of_an_answer(body):
    """A 2xx that is no message is an upstream failure."""
    made = exchange(job({}))
    assert made.answer(body) == b""
    assert made.fault.error.status == 502
    assert not made.finished


@pytest.mark.parametrize(
    "event", [b"data: {nope\n\n", b"data: []\n\n", b'data: {"type":1}\n\n', b"data: \xff\n\n"]
)
def test_nonsense_in_a_stream(event):
    """An event that is not one ends the stream with a fault, after what came before it."""
    made = exchange(stream_job())
    out = made.feed(framed(opening()) + event)
    assert made.fault.error.status == 502
    assert len(chunks(out)) == 1


def test_an_error_object_in_a_plain_answer():
    """A 200 that carries an error is that error."""
    made = exchange(job({}))
    made.answer(b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}')
    assert made.fault.error.status == 429


def test_a_second_try_starts_anew():
    """What an earlier try has read leaves no trace."""
    made = exchange(stream_job(), OLD)
    made.feed(framed(opening(cache_read_input_tokens=9)) + b"data: {nope\n\n")
    made.request(ACCOUNT)
    assert made.feed(E1) == E1_CLIENT


def test_no_usage_is_estimated():
    """A server that reports no usage is told by the rule that bills it."""
    made = exchange(of := job({}))
    answer = {"type": "message", "content": [{"type": "text", "text": "12345678"}], "stop_reason": "end_turn"}
    usage = json.loads(made.answer(json.dumps(answer).encode()))["usage"]
    assert made.usage is None
    prompt, output = prompt_tokens(of), output_tokens("12345678", of.upstream)
    assert usage == {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
