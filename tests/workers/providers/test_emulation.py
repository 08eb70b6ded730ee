"""Legacy completions over chat: prompts, choices and usage, on a translated family and on OpenAI's own bytes."""

import json

import msgspec
import pytest
from openai.types import Completion

from runtime.settings.settings import AccountSettings
from schemas.catalogue.builtin import BUILTIN
from tests.fakes.anthropic import ending, framed, opening, texts, whole
from tests.workers.providers.anthropic.cases import ACCOUNT, OLD, chunks, job
from workers.providers.anthropic.family import Anthropic
from workers.providers.base import RefusedError
from workers.providers.faults import NONSENSE
from workers.providers.openai.family import OpenAI

GPT = next(model for model in BUILTIN if model.id == "gpt-4o")
TWO = {"prompt": ["one", "two"], "max_tokens": 16}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def answer(text, finish="end_turn"):
    """A plain answer of Anthropic's."""
    return json.dumps(whole((opening(), *texts(text), *ending(finish)))).encode()


def openai_chunk(text=None, finish=None, usage=None, **extra):
    """A chunk of OpenAI's chat."""
    choices = (
        []
        if usage
        else [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish} | extra]
    )
    chunk = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 9,
        "model": "u",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def test_a8_one_call_a_prompt():
    """Two prompts are two calls in order; the last renders the whole body, with the sum of usage."""
    first, second = Anthropic().open(job(TWO, choices=2, limit=16), OLD, {})
    for made, prompt in ((first, "one"), (second, "two")):
        body = json.loads(made.request(ACCOUNT).body)
        assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        assert body["max_tokens"] == 16
    assert first.answer(answer("uno")) == b""
    assert first.finished
    body = json.loads(second.answer(answer("dos", "max_tokens")))
    Completion.model_validate(body, strict=True)
    assert body["object"] == "text_completion"
    assert body["id"] == "cmpl-1"
    assert body["choices"] == [
        {"index": 0, "text": "uno", "logprobs": None, "finish_reason": "stop"},
        {"index": 1, "text": "dos", "logprobs": None, "finish_reason": "length"},
    ]
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


def test_a8_streams_are_joined():
    """Streams of several prompts make one stream: one shape, one id, one usage chunk at the end."""
    events = b"".join(framed(event) for event in (opening(), *texts("x", "y"), *ending()))
    out = b"".join(made.feed(events) for made in Anthropic().open(job(TWO | STREAM, choices=2), OLD, {}))
    found = chunks(out)
    for chunk in found:
        Completion.model_validate(
            chunk | {"choices": [c | {"finish_reason": "stop"} for c in chunk["choices"]]}
        )
    assert [chunk["choices"][0]["index"] for chunk in found[:-1]] == [0, 0, 0, 1, 1, 1]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] == 10
    assert len({chunk["id"] for chunk in found}) == 1


def test_echo():
    """Echo puts each prompt before its own text."""
    first, second = Anthropic().open(job(TWO | {"echo": True}, choices=2), OLD, {})
    first.answer(answer("!"))
    body = json.loads(second.answer(answer("?")))
    assert [choice["text"] for choice in body["choices"]] == ["one!", "two?"]


@pytest.mark.parametrize("size", [1, 10_000])
def test_on_openais_own_bytes(size):
    """A pass-through upstream without the route is asked for chat, and its chunks become legacy ones."""
    (made,) = OpenAI().open(job({"prompt": "hi", "logprobs": 1} | STREAM, limit=16), GPT, {})
    request = made.request(AccountSettings(id="a", api_key="k"))
    assert request.url.endswith("/chat/completions")
    body = json.loads(request.body)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (16, True, 1)
    assert not {"prompt", "max_completion_tokens"} & set(body)
    entry = {"token": "Hey", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    data = (
        openai_chunk("Hey", logprobs={"content": [entry], "refusal": None})
        + openai_chunk(finish="length")
        + openai_chunk(usage=usage)
        + b"data: [DONE]\n\n"
    )
    out = (
        b"".join(made.feed(data[start : start + size]) for start in range(0, len(data), size)) + made.close()
    )
    found = chunks(out)
    assert [chunk["choices"][0]["text"] for chunk in found[:-1]] == ["Hey", ""]
    assert found[0]["choices"][0]["logprobs"]["tokens"] == ["Hey"]
    assert found[1]["choices"][0]["finish_reason"] == "length"
    assert found[-1]["usage"] == usage
    assert made.finished
    assert made.output_bytes == 3


def test_a_cut_of_openais_bytes_is_a_fault():
    """An end of file before [DONE] is never a clean end."""
    (made,) = OpenAI().open(job({"prompt": "hi"} | STREAM), GPT, {})
    made.request(AccountSettings(id="a", api_key="k"))
    assert len(chunks(made.feed(openai_chunk("Hey")) + made.close())) == 1
    assert made.fault is not None


ENTRY = {"token": "Hey", "logprob": -0.1, "bytes": None, "top_logprobs": []}


@pytest.mark.parametrize("base_url", ["", "http://server/v1"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("odd", "extra"),
    [
        ({"reasoning": {"text": "x"}}, {}),
        ({"reasoning_content": ["x"]}, {}),
        *(
            ({}, {"logprobs": logprobs})
            for logprobs in (
                [],
                "none",
                {"content": {}},
                {"content": [{}]},
                {"content": [ENTRY | {"logprob": "low"}]},
                {"content": [ENTRY | {"top_logprobs": [{"token": "x"}]}]},
            )
        ),
    ],
)
def test_what_cannot_be_read_costs_only_itself(base_url, stream, odd, extra):
    """Reasoning and logprobs of another shape than OpenAI's are left out; the text arrives."""
    (made,) = OpenAI().open(job({"prompt": "hi", "stream": stream}, limit=16), GPT, {})
    made.request(AccountSettings(id="a", api_key="k", base_url=base_url))
    said = {"role": "assistant", "content": "Hey"} | odd
    if stream:
        data = openai_chunk(**{"delta": said} | extra) + openai_chunk(finish="stop") + b"data: [DONE]\n\n"
        (first, *_) = chunks(made.feed(data) + made.close())
    else:
        choice = {"index": 0, "message": said, "finish_reason": "stop"} | extra
        first = json.loads(made.answer(json.dumps({"id": "x", "choices": [choice]}).encode()))
    assert made.fault is None
    assert made.finished
    assert (first["choices"][0]["text"], first["choices"][0]["logprobs"]) == ("Hey", None)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_read_is_a_fault(stream):
    """What nobody can tell is a fault that has another account tried, and raises nothing."""
    (made,) = OpenAI().open(job({"prompt": "hi", "stream": stream}, limit=16), GPT, {})
    made.request(AccountSettings(id="a", api_key="k"))
    if stream:
        assert made.feed(openai_chunk(delta={"content": {"text": "x"}})) == b""
    else:
        choice = {"index": 0, "message": {"content": {"text": "x"}}, "finish_reason": "stop"}
        assert made.answer(json.dumps({"id": "x", "choices": [choice]}).encode()) == b""
    assert made.fault is NONSENSE
    assert not made.finished


def test_openais_plain_answers():
    """Plain answers of several prompts become one body; a refusal in words is text."""
    made = OpenAI().open(job(TWO, choices=2), GPT, {})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    out = []
    for one, message in zip(made, ({"content": "a"}, {"content": None, "refusal": "no"}), strict=True):
        one.request(AccountSettings(id="a", api_key="k"))
        choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
        out.append(one.answer(json.dumps({"id": "x", "choices": [choice], "usage": usage}).encode()))
    assert out[0] == b""
    body = json.loads(out[1])
    assert [choice["text"] for choice in body["choices"]] == ["a", "no"]
    assert body["usage"]["total_tokens"] == 4


def test_an_invalid_body_is_refused():
    """A worker refuses a body that no edge should have let through."""
    bad = msgspec.structs.replace(job({"prompt": "x"}), body=b'{"model":"m","prompt":7}')
    with pytest.raises(RefusedError):
        Anthropic().open(bad, OLD, {})
