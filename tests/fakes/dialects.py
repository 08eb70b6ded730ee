"""Owns how each family says one and the same answer: its stream's events, with every class of tokens that it counts."""

import json
from typing import Any

import msgspec
from msgspec import Struct

from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic, bedrock, gemini, openai

SIGNATURE = "c2ln"  # what Gemini signs the first of some parallel calls with


class Answer(Struct, frozen=True):
    """What a model says: a text in pieces, tool calls (id, name, arguments), and the tokens it took."""

    pieces: tuple[str, ...]
    usage: TokenUsage
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = ()

    @property
    def text(self) -> str:
        """The whole content."""
        return "".join(self.pieces)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of each call, as text."""
        return tuple(json.dumps(arguments, separators=(",", ":")) for _, _, arguments in self.calls)


def counted(provider: str, usage: TokenUsage) -> TokenUsage:
    """The usage as far as a family can tell it: tokens of a class that it does not know are of the plain one."""
    unknown: dict[str, tuple[str, str]] = {
        "openai": ("cache_write_long", "cache_write"),
        "anthropic": ("input_audio", "input"),
        "gemini": ("cache_write", "input"),
        "bedrock": ("input_audio", "input"),
    }
    moves = [unknown[provider], ("output_audio", "output"), ("cached_audio", "cached")]
    if provider == "gemini":
        moves.append(("cache_write_long", "input"))
    if provider == "bedrock":
        moves.append(("reasoning", "output"))
    for source, target in moves:
        moved = getattr(usage, source)
        usage = msgspec.structs.replace(usage, **{source: 0, target: getattr(usage, target) + moved})
    return usage


def openai_usage(usage: TokenUsage) -> dict[str, Any]:
    """A usage object in which the parts are inside the sums."""
    told = openai.usage(usage.prompt, usage.completion, cached=usage.cached, reasoning=usage.reasoning)
    told["prompt_tokens_details"] |= {
        "cache_write_tokens": usage.cache_write,
        "audio_tokens": usage.input_audio,
    }
    return told


def openai_chunks(answer: Answer) -> list[dict[str, Any]]:
    """The chunks of a stream, but for `[DONE]`."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in answer.pieces]
    for index, (call_id, name, _) in enumerate(answer.calls):
        function = {"name": name, "arguments": ""}
        deltas.append(
            {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        )
        text = answer.arguments[index]
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
    chunks = [openai.chunk(delta, usage=None) for delta in deltas]
    chunks.append(openai.chunk({}, finish="tool_calls" if answer.calls else "stop", usage=None))
    chunks.append(openai.chunk({}, usage=openai_usage(answer.usage)) | {"choices": []})
    return chunks


def openai_events(answer: Answer) -> list[bytes]:
    """A stream as OpenAI sends it."""
    return [openai.event(chunk) for chunk in openai_chunks(answer)] + [openai.event("[DONE]")]


def openai_body(answer: Answer) -> bytes:
    """A plain answer as OpenAI sends it."""
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}
        for (call_id, name, _), text in zip(answer.calls, answer.arguments, strict=True)
    ]
    body = json.loads(openai.plain(answer.text, openai_usage(answer.usage)))
    if calls:
        body["choices"][0]["message"] |= {"content": answer.text or None, "tool_calls": calls}
        body["choices"][0]["finish_reason"] = "tool_calls"
    return json.dumps(body).encode()


def anthropic_objects(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream: the classes exclude one another, and each figure is a running total."""
    used = answer.usage
    told: dict[str, Any] = {
        "input_tokens": used.input,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.cache_write + used.cache_write_long,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write,
            "ephemeral_1h_input_tokens": used.cache_write_long,
        },
    }
    events = [anthropic.opening(**told)]
    if answer.pieces:
        events += anthropic.texts(*answer.pieces)
    for index, (call_id, name, _) in enumerate(answer.calls, 1 if answer.pieces else 0):
        text = answer.arguments[index - (1 if answer.pieces else 0)]
        events += anthropic.tool_use(call_id, name, "", text[:3], text[3:], index=index)
    details = {"thinking_tokens": used.reasoning}
    reason = "tool_use" if answer.calls else "end_turn"
    return events + anthropic.ending(
        reason, output_tokens=used.completion, output_tokens_details=details, **told
    )


def anthropic_events(answer: Answer) -> list[bytes]:
    """A stream as Anthropic sends it."""
    return [anthropic.framed(event) for event in anthropic_objects(answer)]


def gemini_objects(answer: Answer) -> list[dict[str, Any]]:
    """The chunks of a stream, the finish reason in a trailing chunk of its own."""
    used = answer.usage
    parts: list[dict[str, Any]] = [{"text": piece} for piece in answer.pieces]
    for index, (call_id, name, arguments) in enumerate(answer.calls):
        signature = {} if index else {"thoughtSignature": SIGNATURE}
        parts.append({"functionCall": {"id": call_id, "name": name, "args": arguments}} | signature)
    told: dict[str, Any] = {
        "promptTokenCount": used.prompt,
        "cachedContentTokenCount": used.cached,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": used.input_audio}],
    }
    events: list[dict[str, Any]] = [
        {
            "candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}],
            "usageMetadata": told | {"totalTokenCount": used.prompt},
            "modelVersion": "gemini-x",
            "responseId": "r1",
        }
        for part in parts
    ]
    told |= {"candidatesTokenCount": used.output, "thoughtsTokenCount": used.reasoning}
    told |= {"totalTokenCount": used.prompt + used.completion}
    last = {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}
    events.append({"candidates": [last], "usageMetadata": told, "modelVersion": "gemini-x"})
    return events


def gemini_events(answer: Answer) -> list[bytes]:
    """A stream as Gemini sends it."""
    return [gemini.framed(event) for event in gemini_objects(answer)]


def bedrock_usage(usage: TokenUsage) -> dict[str, Any]:
    """A usage object: the cache's classes are beside the input, the hour's in a detail."""
    return bedrock.usage(
        usage.input,
        usage.completion,
        cacheReadInputTokens=usage.cached,
        cacheWriteInputTokens=usage.cache_write + usage.cache_write_long,
        cacheDetails=[
            {"ttl": "5m", "inputTokens": usage.cache_write},
            {"ttl": "1h", "inputTokens": usage.cache_write_long},
        ],
    )


def bedrock_events(answer: Answer) -> list[bytes]:
    """A stream as Bedrock sends it; its usage comes last."""
    event = bedrock.frames.event
    events = [event("messageStart", {"role": "assistant"})]
    if answer.pieces:
        events += [
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
            for piece in answer.pieces
        ]
        events.append(event("contentBlockStop", {"contentBlockIndex": 0}))
    first = 1 if answer.pieces else 0
    for index, ((call_id, name, _), arguments) in enumerate(
        zip(answer.calls, answer.arguments, strict=True), first
    ):
        start = {"toolUse": {"toolUseId": call_id, "name": name}}
        events.append(event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
        delta = {"toolUse": {"input": arguments}}
        events.append(event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}))
        events.append(event("contentBlockStop", {"contentBlockIndex": index}))
    events.append(event("messageStop", {"stopReason": "tool_use" if answer.calls else "end_turn"}))
    return [*events, event("metadata", {"usage": bedrock_usage(answer.usage), "metrics": {"latencyMs": 9}})]


def bedrock_body(answer: Answer) -> dict[str, Any]:
    """A plain answer as Converse gives it."""
    content: list[dict[str, Any]] = [{"text": answer.text}] if answer.pieces else []
    content += [
        {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments}}
        for call_id, name, arguments in answer.calls
    ]
    stop = "tool_use" if answer.calls else "end_turn"
    made = bedrock.answer(stop=stop, counted=bedrock_usage(answer.usage))
    made["output"]["message"]["content"] = content
    return made
