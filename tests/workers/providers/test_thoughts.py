"""Reasoning that callers of /v1/messages carry between turns: told sealed, and told back to its model as it was."""

import json
from typing import Any

import pytest

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.dialects.messages.names import told_id
from schemas.money.pricing import TokenUsage
from tests.fakes import bedrock, dialects
from tests.fakes.dialects import Answer
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.bedrock import cases as bedrock_cases
from tests.workers.providers.gemini import cases as gemini_cases
from workers.providers.base import Exchange
from workers.providers.bedrock.family import Bedrock
from workers.providers.gemini.family import Gemini

CALLS = Answer(
    ("Look", "ing."),
    TokenUsage(input=1, output=2),
    (("call_0", "f", {"a": 1}), ("call_1", "f", {})),
)
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
CLAUDE = bedrock_cases.by_converse(bedrock_cases.CLAUDE_EFFORT)
REASONED: dict[str, Any] = bedrock.answer(stop="tool_use")
REASONED["output"]["message"]["content"] = [
    {"reasoningContent": {"reasoningText": {"text": "Think é", "signature": "c2ln"}}},
    {"text": "Looking."},
    {"toolUse": {"toolUseId": "call_0", "name": "f", "input": {"a": 1}}},
    {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {}}},
]


def asking(row: Model, turns: list[Any], **more: Any) -> Job:
    """A job of the dialect, with thinking."""
    body = {"max_tokens": 900, "messages": turns, "tools": TOOLS, "thinking": {"type": "adaptive"}}
    fields = {"dialect": "messages", "stream": True, "scope": "s", "upstream": row.upstream, "limit": 900}
    return job(body, **fields | more)


def blocks(told: bytes) -> list[dict[str, Any]]:
    """The content that a stream's events add up to."""
    found: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for line in told.decode().split("\n"):
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        if event.get("type") == "content_block_start":
            found.append(event["content_block"])
        elif event.get("type") == "content_block_delta":
            at, delta = event["index"], event["delta"]
            if delta["type"] == "input_json_delta":
                inputs[at] = inputs.get(at, "") + delta["partial_json"]
                continue
            name = delta["type"].removesuffix("_delta")
            found[at][name] = found[at].get(name, "") + delta[name]
    for at, text in inputs.items():
        found[at]["input"] = json.loads(text or "{}")
    return found


def next_turn(content: list[dict[str, Any]]) -> list[Any]:
    """The history with this answer in it, and results of its calls."""
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "fine"}
        for block in content
        if block["type"] == "tool_use"
    ]
    user = {"role": "user", "content": "go"}
    return [user, {"role": "assistant", "content": content}, {"role": "user", "content": results}]


def opened(family: Any, of: Job, row: Model) -> Exchange:
    """The one exchange."""
    (exchange,) = family.open(of, row, {})
    return exchange


def test_gemini_gets_its_signature_back_on_the_call_that_had_it() -> None:
    """From the caller's own history alone; a caller of another key has nothing of it."""
    row = gemini_cases.NEW
    made = opened(Gemini(), asking(row, [{"role": "user", "content": "go"}]), row)
    told = made.feed(gemini_cases.wire(dialects.gemini_objects(CALLS))) + made.close()
    content = blocks(told)
    assert [block["type"] for block in content] == ["text", "redacted_thinking", "tool_use", "tool_use"]
    turns = next_turn(content)
    for scope, signed in (("s", True), ("other", False)):
        of = asking(row, turns, scope=scope)
        body = json.loads(opened(Gemini(), of, row).request(gemini_cases.ACCOUNT).body)
        parts = [part for turn in body["contents"] for part in turn["parts"] if "functionCall" in part]
        assert (parts[0]["thoughtSignature"] == dialects.SIGNATURE) is signed
        assert "thoughtSignature" not in parts[1]


def test_gemini_goes_on_without_signatures_that_it_refuses() -> None:
    """Those of the caller's history are forgotten like those that were kept."""
    row = gemini_cases.NEW
    made = opened(Gemini(), asking(row, [{"role": "user", "content": "go"}]), row)
    content = blocks(made.feed(gemini_cases.wire(dialects.gemini_objects(CALLS))) + made.close())
    again: Any = opened(Gemini(), asking(row, next_turn(content)), row)
    assert dialects.SIGNATURE.encode() in again.request(gemini_cases.ACCOUNT).body
    assert again.forget_thoughts()
    assert dialects.SIGNATURE.encode() not in again.request(gemini_cases.ACCOUNT).body
    assert not again.forget_thoughts()


@pytest.mark.parametrize("stream", [True, False])
def test_converse_gets_its_reasoning_back_before_the_turn(stream: bool) -> None:
    """Text and signature byte for byte, streamed and plain."""
    made: Any = opened(Bedrock(), asking(CLAUDE, [{"role": "user", "content": "go"}], stream=stream), CLAUDE)
    if stream:
        content = blocks(made.feed(b"".join(bedrock.stream_of(REASONED))))
    else:
        content = json.loads(made.answer(json.dumps(REASONED).encode()))["content"]
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use", "tool_use"]
    assert content[0]["thinking"] == "Think é"
    of = asking(CLAUDE, next_turn(content))
    body = json.loads(opened(Bedrock(), of, CLAUDE)._body)
    first = body["messages"][1]["content"][0]
    assert first == {"reasoningContent": {"reasoningText": {"text": "Think é", "signature": "c2ln"}}}


def test_families_look_for_signatures_of_calls_in_this_dialect_too() -> None:
    """What the caller's history does not bring, the gateway may have kept: by the ids that it told."""
    long = "x" * 50
    content = [{"type": "tool_use", "id": name, "name": "f", "input": {}} for name in ("call_0", long)]
    of = asking(CLAUDE, next_turn(content))
    assert Gemini().thought_ids(of) == ["call_0", told_id(long)]
    assert Bedrock().thought_ids(of) == ["call_0"]
