import json

import msgspec
import pytest

from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT, ChatRequest
from schemas.money.pricing import TokenUsage
from tests.fakes import bedrock as fake
from tests.fakes import bedrock_frames as frames
from tests.workers.providers.bedrock.cases import TITAN, chunks, exchange, feed, job, model
from workers.providers.base import Action
from workers.providers.bedrock import titan

E4 = [
    fake.titan_chunk("\nHel", inputTextTokenCount=3),
    fake.titan_chunk(
        "lo",
        totalOutputTextTokenCount=2,
        completionReason="LENGTH",
        **{
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 3,
                "outputTokenCount": 2,
                "invocationLatency": 9,
                "firstByteLatency": 5,
            }
        },
    ),
]
E4_CLIENT = (
    'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":null}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
)


def sent(**body) -> dict:
    return json.loads(exchange(TITAN, **body)._body)


@pytest.mark.parametrize("piece_bytes", [1, 0, 11])
def test_e4_titan_stream_byte_for_byte(piece_bytes):
    """Fixture E4: the leading newline trimmed, the last chunk's text, reason and metrics all read."""
    call = exchange(TITAN)
    assert feed(call, b"".join(E4), piece_bytes) == E4_CLIENT
    assert call.finished
    assert call.usage == TokenUsage(input=3, output=2)


def test_c48_the_last_chunk_ends_the_stream_once():
    """One finish chunk, from the one chunk that has a reason; others give only text."""
    parts = [fake.titan_chunk(f"w{k} ") for k in range(5)]
    seen = chunks(feed(exchange(TITAN), b"".join([*parts, *E4])))
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in seen if chunk["choices"]]
    assert reasons == [None] * 8 + ["length"]


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("torn_bytes", [0, 9])
def test_c38_a_cut_after_any_chunk_is_a_fault(after, torn_bytes):
    """Never a clean end before the chunk that has the reason and the metrics."""
    call = exchange(TITAN)
    seen = feed(call, b"".join(E4[:after]) + E4[after][:torn_bytes])
    assert call.fault is not None
    assert not call.finished
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks(seen))


def test_a_reason_and_its_metrics_may_come_apart():
    """Nothing is finished until what it cost is known; the counts of the chunks will do at the end of file."""
    reason = fake.titan_chunk(
        "x", inputTextTokenCount=3, totalOutputTextTokenCount=1, completionReason="FINISH"
    )
    call = exchange(TITAN)
    seen = chunks(feed(call, reason))
    assert call.finished
    assert seen[-2]["choices"][0]["finish_reason"] == "stop"
    assert call.usage == TokenUsage(input=3, output=1)
    uncounted = exchange(TITAN)
    feed(uncounted, fake.titan_chunk("x", completionReason="FINISH"))
    assert uncounted.fault is not None


def test_newlines_are_trimmed_only_at_the_start():
    """Also when the first chunk is nothing but newlines."""
    parts = [
        fake.titan_chunk("\n"),
        fake.titan_chunk("\na\n"),
        fake.titan_chunk("\nb"),
        *fake.titan_stream("\nc")[1:],
    ]
    seen = chunks(feed(exchange(TITAN), b"".join(parts)))
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in seen if c["choices"]) == "a\n\nbc"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("FINISH", "stop"),
        ("FINISHED", "stop"),
        ("STOP_CRITERIA_MET", "stop"),
        ("LENGTH", "length"),
        ("CONTENT_FILTERED", "content_filter"),
    ],
)
def test_completion_reasons(reason, finish):
    """Each reason, whole and streamed; an empty text is an answer."""
    call = exchange(TITAN, stream=False)
    answer = json.loads(call.answer(json.dumps(fake.titan_answer("\nHi", reason)).encode()))
    assert answer["choices"][0]["finish_reason"] == finish
    assert answer["choices"][0]["message"]["content"] == "Hi"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    streamed = exchange(TITAN)
    seen = chunks(feed(streamed, b"".join(fake.titan_stream("", reason))))
    assert [c["choices"][0]["finish_reason"] for c in seen if c["choices"]] == [None, finish]


def test_a_reason_that_is_an_error():
    """RAG_QUERY_WHEN_RAG_DISABLED is no answer."""
    call = exchange(TITAN)
    feed(call, b"".join(fake.titan_stream("x", "RAG_QUERY_WHEN_RAG_DISABLED")))
    assert call.fault is not None
    assert call.fault.error.status == 502


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"results":[]}',
        b'{"results":[{"outputText":"x"}]}',
        b'{"results":[{"completionReason":"FINISH"}]}',
    ],
)
def test_a_whole_answer_that_is_none(body):
    """Nonsense, no results, no reason, no counts: a fault, never an empty answer."""
    call = exchange(TITAN, stream=False)
    assert call.answer(body) == b""
    assert call.fault is not None


def test_exceptions_and_nonsense_in_the_stream():
    """By name, and billed only if the answer had begun."""
    first = exchange(TITAN)
    feed(first, frames.exception("modelTimeoutException", "slow"))
    assert first.fault is not None
    assert (first.fault.error.status, first.fault.unbilled) == (504, True)
    for bad in (frames.event("chunk", {"bytes": "!!"}), frames.event("chunk", {}), E4[1][:-2] + b"xx"):
        call = exchange(TITAN)
        feed(call, E4[0] + bad)
        assert call.fault is not None
        assert call.fault.action is Action.NEXT
        assert not call.fault.unbilled


def test_a_chat_becomes_a_transcript():
    """Instructions first, then the speakers' lines, and the turn of the bot."""
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
        {"role": "user", "content": [{"type": "text", "text": "how "}, {"type": "text", "text": "now"}]},
    ]
    assert sent(messages=messages)["inputText"] == "be brief\nUser: hello\nBot: hi\nUser: how now\nBot:"
    assert sent(messages=[{"role": "system", "content": "go"}])["inputText"] == "go\nBot:"


def test_the_limit_is_always_written_and_never_above_the_models_own():
    """Titan's own default is 512 tokens, which nobody asked for."""
    assert sent(limit=700)["textGenerationConfig"] == {"maxTokenCount": 700}
    long = job(TITAN, limit=99_999)
    config = json.loads(titan.build(_request(long), long, model(TITAN)))["textGenerationConfig"]
    assert config == {"maxTokenCount": 8_192}


def test_sampling_and_stops():
    """Within Titan's ranges, and only the stops that it takes."""
    config = sent(temperature=1.7, top_p=0.5, stop=["User:", "||"])["textGenerationConfig"]
    assert config == {
        "maxTokenCount": 1_000,
        "temperature": 1.0,
        "topP": 0.5,
        "stopSequences": ["User:", "||"],
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stop": "END"}, "stop"),
        ({"stop": ["User:", "x"]}, "stop[1]"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_titan_cannot_do_is_refused_before_any_hold(body, param):
    """A 400 that names the parameter."""
    made = job(TITAN, **body)
    error = refuse(model(TITAN), CHAT, made.body)
    assert error is not None
    assert (error.status, error.param) == (400, param)


def _request(made):
    return msgspec.json.decode(made.body, type=ChatRequest)
