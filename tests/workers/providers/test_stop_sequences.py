"""Which stop sequence ended an answer: told in Messages where the upstream says so to the letter, and never guessed."""

import json
from typing import Any

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.gemini import gemini_capabilities
from schemas.catalogue.model import Capabilities, Model
from schemas.dialects.messages.request import MESSAGES
from tests.fakes import bedrock_frames
from tests.workers.providers.anthropic.cases import job
from workers.providers import family
from workers.providers.base import Exchange

ACCOUNT = AccountSettings(
    id="main",
    base_url="http://up/v1",
    api_key="k",
    region="us-east-1",
    access_key_id="AKIDEXAMPLE",
    secret_access_key="secret",
)
CLAUDE = "global.anthropic.claude-opus-4-6-v1"
NOVA = "amazon.nova-lite-v1:0"
STOPS = ["END", "eos", "1"]
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
ROWS: dict[str, tuple[str, Capabilities]] = {
    "openai": ("m", Capabilities()),
    "bedrock": (CLAUDE, structs.replace(bedrock_capabilities(CLAUDE), messages=False)),
    "gemini": ("gemini-x", gemini_capabilities("gemini-x")),
}


def asked(upstream: str, *, stream: bool, **more: Any) -> Job:
    """A job of Messages with stop sequences."""
    body = {"max_tokens": 64, "stream": stream, "stop_sequences": STOPS} | more
    return job(body, dialect=MESSAGES, upstream=upstream, stream=stream)


def opened(provider: str, *, stream: bool, upstream: str = "", **more: Any) -> Exchange:
    """The exchange of such a job, asked for."""
    name, able = ROWS[provider]
    if upstream:
        name, able = upstream, bedrock_capabilities(upstream)
    row = Model(
        id="M",
        pool=provider,
        provider=provider,
        upstream=name,
        context=200_000,
        max_output=8_192,
        capabilities=able,
    )
    (made,) = family(provider).open(asked(name, stream=stream, **more), row, {})
    return made


def ended(made: Exchange, stream: bool, said: list[bytes]) -> tuple[str, str | None]:
    """Why the caller's message ends, and at which sequence."""
    if stream:
        out = b"".join(map(made.feed, said))
        out += b"" if made.finished else made.close()
        assert made.fault is None
        events = [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: ")]
        (told,) = (event["delta"] for event in events if event["type"] == "message_delta")
    else:
        told = json.loads(made.answer(said[0]))
        assert made.fault is None
    return told["stop_reason"], told["stop_sequence"]


def chat(stream: bool, finish: str, **more: Any) -> list[bytes]:
    """An answer of a server that speaks OpenAI's chat, with what it says of its end."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    end = {"index": 0, "finish_reason": finish, **more}
    if not stream:
        message = {"role": "assistant", "content": "Hi"}
        return [json.dumps(head | {"choices": [end | {"message": message}], "usage": USAGE}).encode()]
    first = {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}
    events = [
        head | {"choices": [first | dict.fromkeys(more)]},
        head | {"choices": [end | {"delta": {}}]},
        head | {"choices": [], "usage": USAGE},
    ]
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def converse(stream: bool, reason: str, more: dict[str, Any] | None) -> list[bytes]:
    """An answer of Converse."""
    usage = {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}
    end = {"stopReason": reason} | ({"additionalModelResponseFields": more} if more is not None else {})
    if not stream:
        output = {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}
        return [json.dumps({"output": output, "usage": usage, "metrics": {"latencyMs": 1}} | end).encode()]
    return [
        bedrock_frames.event("messageStart", {"role": "assistant"}),
        bedrock_frames.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        bedrock_frames.event("contentBlockStop", {"contentBlockIndex": 0}),
        bedrock_frames.event("messageStop", end),
        bedrock_frames.event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


both_ways = pytest.mark.parametrize("stream", [False, True])


@both_ways
@pytest.mark.parametrize(
    ("finish", "more", "told"),
    [
        ("stop", {"stop_reason": "END"}, ("stop_sequence", "END")),  # vLLM
        ("stop", {"matched_stop": "END"}, ("stop_sequence", "END")),  # SGLang
        ("stop", {"stop_reason": None}, ("end_turn", None)),
        ("stop", {"stop_reason": 1}, ("end_turn", None)),  # a token's number, not the sequence "1"
        ("stop", {"stop_reason": "FIN"}, ("end_turn", None)),  # nobody asked for it
        ("stop", {"stop_reason": "eos"}, ("end_turn", None)),  # a reason, though a sequence is spelt so
        ("stop", {"stop_reason": {"a": 1}, "matched_stop": ["END"]}, ("end_turn", None)),
        ("stop", {}, ("end_turn", None)),
        ("length", {"stop_reason": "END"}, ("max_tokens", None)),
    ],
)
def test_what_compatible_servers_say_of_it(stream, finish, more, told):
    """Fields of vLLM's and SGLang's own tell it, if they hold one of the caller's sequences and the answer stopped there."""
    made = opened("openai", stream=stream)
    made.request(ACCOUNT)
    assert ended(made, stream, chat(stream, finish, **more)) == told


@both_ways
def test_a_call_is_the_reason_before_a_sequence(stream):
    """A message that calls tools ends for them, whatever a server says beside."""
    made = opened("openai", stream=stream, tools=[{"name": "f", "input_schema": {"type": "object"}}])
    made.request(ACCOUNT)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        raw.replace(b'"content": "Hi"', b'"content": null, "tool_calls": [%b]' % json.dumps(call).encode())
        for raw in chat(stream, "stop", stop_reason="END")
    ]
    assert ended(made, stream, said) == ("tool_use", None)


@both_ways
@pytest.mark.parametrize(
    ("reason", "more", "told"),
    [
        ("stop_sequence", {"stop_sequence": "END"}, ("stop_sequence", "END")),
        ("stop_sequence", {"stop_sequence": "eos"}, ("stop_sequence", "eos")),
        ("stop_sequence", {"stop_sequence": None}, ("end_turn", None)),
        ("stop_sequence", {"stop_sequence": ["END"]}, ("end_turn", None)),
        ("stop_sequence", None, ("end_turn", None)),
        ("end_turn", {"stop_sequence": "END"}, ("end_turn", None)),
        ("max_tokens", {"stop_sequence": None}, ("max_tokens", None)),
    ],
)
def test_what_converse_says_of_it(stream, reason, more, told):
    """Converse has no word for it: Claude's own field is asked for, and told."""
    of = opened("bedrock", stream=stream)
    body = json.loads(of.request(ACCOUNT).body)
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert ended(of, stream, converse(stream, reason, more)) == told


@both_ways
def test_it_is_asked_of_nobody_in_vain(stream):
    """A call without stop sequences asks for nothing, and neither does one of a model that has no such field."""
    for more in ({"stop_sequences": []}, {"stop_sequences": [" "]}, {"upstream": NOVA}):
        body = json.loads(opened("bedrock", stream=stream, **more).request(ACCOUNT).body)
        assert "additionalModelResponseFieldPaths" not in body


@both_ways
def test_gemini_does_not_say(stream):
    """Gemini stops without a word on where, so the message just ends."""
    of = opened("gemini", stream=stream)
    of.request(ACCOUNT)
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
    }
    raw = json.dumps(chunk).encode()
    assert ended(of, stream, [b"data: %b\n\n" % raw] if stream else [raw]) == ("end_turn", None)
