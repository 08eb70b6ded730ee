"""The shared rendering of translated answers: OpenAI's order and shapes, for chat and legacy completions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from schemas.chat.request import CHAT, COMPLETIONS
from schemas.money.pricing import TokenUsage
from tests.workers.providers.anthropic.cases import chunks, deltas, job
from workers.answers import answers

ENTRY = {
    "token": "Hi",
    "logprob": -0.5,
    "bytes": [72, 105],
    "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": None}],
}


def render(exchanges=1, echoes=(), **fields):
    """The answers of a streamed job that ends with usage."""
    known = {"stream": True, "include_usage": True}
    return answers(job({}, **known | fields), exchanges, echoes)


def test_order_of_a_stream():
    """Role, content, openers, fragments, finish, usage: each once and in this order."""
    (one,) = render()
    out = (
        one.open(0)
        + one.text(0, "Hi")
        + one.tool(0, "c", "f")
        + one.arguments(0, '{"a"')
        + one.arguments(0, ":1}")
    )
    out += one.finish(0, "stop") + one.end(TokenUsage(input=1, output=2))
    assert deltas(out) == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {
            "tool_calls": [
                {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {},
    ]
    assert chunks(out)[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert one.output_bytes == 9


def test_chunks_pass_the_sdks_types():
    """Every chunk and body validates against the official SDK's models."""
    (one,) = render()
    out = one.text(0, "Hi", [ENTRY]) + one.refusal(0, "no") + one.tool(0, "c", "f") + one.finish(0, "stop")
    for chunk in chunks(out + one.end(TokenUsage(input=1))):
        ChatCompletionChunk.model_validate(chunk, strict=True)
    (plain,) = render(stream=False)
    plain.text(0, "Hi", [ENTRY])
    plain.tool(0, "c", "f")
    plain.finish(0, "stop")
    ChatCompletion.model_validate(json.loads(plain.end(TokenUsage(input=1))), strict=True)


def test_c49_the_usage_chunk_has_empty_choices_on_both_routes():
    """Key present, array empty, for chat and completions."""
    for dialect in (CHAT, COMPLETIONS):
        (one,) = render(dialect=dialect)
        out = chunks(one.text(0, "x") + one.finish(0, "stop") + one.end(TokenUsage(input=1)))
        assert out[-1]["choices"] == []
        assert out[-1]["usage"]["total_tokens"] == 1
        assert out[0]["usage"] is None


def test_choices_are_numbered_across_exchanges():
    """Choice j of exchange i is i*n + j, in streams and in the one body that the last exchange gives."""
    first, second = render(2, dialect=COMPLETIONS, choices=4)
    out = first.text(1, "b") + second.text(0, "c")
    assert [chunk["choices"][0]["index"] for chunk in chunks(out)] == [1, 2]
    first, second = render(2, dialect=COMPLETIONS, choices=4, stream=False)
    for one, texts in ((first, "ab"), (second, "cd")):
        for index, text in enumerate(texts):
            one.text(index, text)
            one.finish(index, "length")
    assert first.end(TokenUsage(input=1, output=2)) == b""
    body = json.loads(second.end(TokenUsage(input=3, output=4)))
    Completion.model_validate(body, strict=True)
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == list(enumerate("abcd"))
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


def test_a_restart_forgets_one_exchange_only():
    """A second try of one exchange leaves the others' choices and usage as they are."""
    first, second = render(2, dialect=COMPLETIONS, choices=2, stream=False)
    first.text(0, "a")
    first.finish(0, "stop")
    first.end(TokenUsage(input=1))
    second.text(0, "half")
    second.restart()
    assert second.output_bytes == 0
    second.text(0, "b")
    second.finish(0, "stop")
    body = json.loads(second.end(TokenUsage(input=2)))
    assert [choice["text"] for choice in body["choices"]] == ["a", "b"]
    assert body["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize("stream", [True, False])
def test_echo_repeats_the_prompt_and_is_no_output(stream):
    """An echoed prompt stands before the text, and is not counted as output."""
    (one,) = render(echoes=["Once"], dialect=COMPLETIONS, stream=stream)
    out = one.text(0, " upon")
    assert one.output_bytes == 5
    out += one.finish(0, "stop") + one.end(TokenUsage())
    pieces = chunks(out) if stream else [json.loads(out)]
    assert "".join(choice["text"] for piece in pieces for choice in piece["choices"]) == "Once upon"


def test_legacy_logprobs():
    """Logprobs of chat become the parallel lists of legacy completions, with offsets into the text."""
    (one,) = render(dialect=COMPLETIONS)
    pieces = [
        chunk["choices"][0]["logprobs"]
        for chunk in chunks(one.text(0, "Hi", [ENTRY]) + one.text(0, "Hi", [ENTRY]))
    ]
    assert pieces[0] == {
        "tokens": ["Hi"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"Ho": -1.5}],
        "text_offset": [0],
    }
    assert pieces[1]["text_offset"] == [2]


def test_plain_content_is_null_only_where_openai_has_null():
    """Content is null with only tools, with a refusal and when filtered; else it is text, perhaps empty."""
    cases = {
        "length": ("", None),
        "content_filter": (None, None),
    }
    for reason, (content, refusal) in cases.items():
        (one,) = render(stream=False)
        one.open(0)
        one.finish(0, reason)
        message = json.loads(one.end(TokenUsage()))["choices"][0]["message"]
        assert (message["content"], message["refusal"]) == (content, refusal)
    (one,) = render(stream=False)
    one.refusal(0, "no")
    one.finish(0, "stop")
    assert json.loads(one.end(TokenUsage()))["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
    }


@given(st.text(), st.text())
def test_any_text_survives(text, name):
    """Any text, in content, arguments, ids and model names, is valid JSON and comes back as it was."""
    (one,) = render(model=name)
    out = one.text(0, text) + one.tool(0, text, name) + one.arguments(0, text) + one.finish(0, "stop")
    found = chunks(out)
    assert all(chunk["model"] == name for chunk in found)
    assert "".join(delta.get("content", "") for delta in deltas(out)) == text
    calls = [call for delta in deltas(out) for call in delta.get("tool_calls", ())]
    assert calls[0]["id"] == text
    assert "".join(call["function"]["arguments"] for call in calls) == (text or "{}")
