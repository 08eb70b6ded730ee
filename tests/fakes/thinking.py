"""Owns an answer of reasoning, text and a tool call in the events of each provider: every kind of event that a stream has."""

from typing import Any

from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic, bedrock_frames, dialects, openai, responses
from tests.fakes.dialects import Answer
from tests.fakes.spoken import TOOL

THOUGHT = ("Let me ", "think.")
TEXT = ("It is ", "over ", "there.")
ARGUMENTS = ('{"at":', '"the sea"}')
USAGE = TokenUsage(input=40, cached=5, output=21, reasoning=12)
ANSWER = Answer(TEXT, USAGE, (("call_1", TOOL, {"at": "the sea"}),))


def openai_events() -> list[bytes]:
    """As compatible servers send it."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in THOUGHT]
    deltas += [{"content": piece} for piece in TEXT]
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": TOOL, "arguments": ""}}
    deltas.append({"tool_calls": [call]})
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ARGUMENTS]
    chunks = [openai.chunk(delta, usage=None) for delta in deltas]
    chunks.append(openai.chunk({}, finish="tool_calls", usage=None))
    chunks.append(openai.chunk({}, usage=dialects.openai_usage(USAGE)) | {"choices": []})
    return [*map(openai.event, chunks), openai.event("[DONE]")]


def anthropic_events() -> list[dict[str, Any]]:
    """As Anthropic sends it."""
    told: dict[str, Any] = {"input_tokens": USAGE.input, "cache_read_input_tokens": USAGE.cached}
    block = {"type": "thinking", "thinking": "", "signature": ""}
    deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in THOUGHT]
    deltas.append({"type": "signature_delta", "signature": "c2ln"})
    events = [
        anthropic.opening(**told),
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        *anthropic.texts(*TEXT, index=1),
        *anthropic.tool_use("call_1", TOOL, "", *ARGUMENTS, index=2),
    ]
    details = {"thinking_tokens": USAGE.reasoning}
    return events + anthropic.ending(
        "tool_use", output_tokens=USAGE.completion, output_tokens_details=details, **told
    )


def gemini_events() -> list[dict[str, Any]]:
    """As Gemini sends it."""
    thoughts = [{"text": piece, "thought": True} for piece in THOUGHT]
    first, *rest = dialects.gemini_objects(ANSWER)
    told = [
        first | {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]}
        for part in thoughts
    ]
    return [*told, first, *rest]


def bedrock_events() -> list[bytes]:
    """As Converse sends it."""
    first, *rest = dialects.bedrock_events(ANSWER)
    event = bedrock_frames.event
    thoughts = [
        event("contentBlockDelta", {"contentBlockIndex": 9, "delta": {"reasoningContent": {"text": piece}}})
        for piece in THOUGHT
    ]
    return [first, *thoughts, event("contentBlockStop", {"contentBlockIndex": 9}), *rest]


def responses_events() -> list[bytes]:
    """As OpenAI sends it on /v1/responses."""
    summary = {"type": "summary_text", "text": "".join(THOUGHT)}
    item = {"type": "reasoning", "id": "rs_up", "summary": [summary]}
    at = {"item_id": "rs_up", "output_index": 0, "summary_index": 0}
    part = "response.reasoning_summary_part"
    told: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"summary": []}},
        {"type": f"{part}.added", **at, "part": summary | {"text": ""}},
        *({"type": "response.reasoning_summary_text.delta", **at, "delta": piece} for piece in THOUGHT),
        {"type": "response.reasoning_summary_text.done", **at, "text": summary["text"]},
        {"type": f"{part}.done", **at, "part": summary},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    events = responses.events(ANSWER)
    return [*events[:2], *(responses.event(2 + index, one) for index, one in enumerate(told)), *events[2:]]
