"""Owns Claude's own form on the fake Bedrock: what it refuses of a Messages body, and Converse answers told in that form."""

import base64
import json
from typing import Any

import msgspec

from schemas.catalogue.bedrock import bedrock_capabilities
from tests.fakes import anthropic_rules
from tests.fakes import bedrock_frames as frames
from tests.fakes.bedrock_rules import InvalidError
from workers.providers.bedrock.event_stream import FrameBuffer

Json = dict[str, Any]

VERSION = "bedrock-2023-05-31"
# Flags that Bedrock lists for its Claudes.
BETAS = frozenset(
    (
        "computer-use-2025-01-24",
        "token-efficient-tools-2025-02-19",
        "interleaved-thinking-2025-05-14",
        "output-128k-2025-02-19",
        "dev-full-thinking-2025-05-14",
        "fine-grained-tool-streaming-2025-05-14",
        "context-1m-2025-08-07",
        "effort-2025-11-24",
    )
)
_EXTRA = ("model", "stream", "cache_control", "context_management", "service_tier", "speed", "container")
_EXTRA_OF_TOOLS = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")


def serves(model: str) -> bool:
    """Whether a model is one of Anthropic's."""
    return "anthropic.claude" in model


def check(model: str, body: Json) -> None:
    """Raises InvalidError for a body that Claude on Bedrock refuses."""
    rest = dict(body)
    if rest.pop("anthropic_version", None) != VERSION:
        raise InvalidError("anthropic_version: Field required")
    betas = rest.pop("anthropic_beta", [])
    if not isinstance(betas, list) or not BETAS.issuperset(betas):
        raise InvalidError("invalid beta flag")
    for name in _EXTRA:
        if name in rest:
            raise InvalidError(f"{name}: Extra inputs are not permitted")
    for at, tool in enumerate(rest.get("tools", ())):
        for name in _EXTRA_OF_TOOLS:
            if name in tool:
                raise InvalidError(f"tools.{at}.custom.{name}: Extra inputs are not permitted")
    for at, turn in enumerate(rest["messages"]):
        if turn["role"] not in ("user", "assistant"):
            raise InvalidError(f"messages.{at}.role: Input should be 'user' or 'assistant'")
    if _is_remote(rest["messages"]):
        raise InvalidError("source.type: Input should be 'base64'")
    try:
        whole = json.dumps({"model": "claude", **rest}).encode()
        anthropic_rules.check(whole, bedrock_capabilities(model))
    except anthropic_rules.RefusalError as refused:
        raise InvalidError(str(refused)) from None


def _is_remote(value: Any) -> bool:
    """Whether a conversation has a source that Bedrock would have to fetch."""
    if isinstance(value, list):
        return any(map(_is_remote, value))
    if not isinstance(value, dict):
        return False
    source = value.get("source")
    if isinstance(source, dict) and source.get("type") in ("url", "file"):
        return True
    return _is_remote(value.get("content"))


def usage(counted: Json) -> Json:
    """Converse's usage by Claude's names."""
    long = sum(one["inputTokens"] for one in counted.get("cacheDetails") or () if one["ttl"] == "1h")
    written = counted.get("cacheWriteInputTokens") or 0
    return {
        "input_tokens": counted["inputTokens"],
        "cache_read_input_tokens": counted.get("cacheReadInputTokens") or 0,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - long, "ephemeral_1h_input_tokens": long},
        "output_tokens": counted["outputTokens"],
    }


def message(body: Json) -> Json:
    """A Converse answer as a message."""
    return _opening(
        content=[_block(block) for block in body["output"]["message"]["content"]],
        stop_reason=body["stopReason"],
        usage=usage(body["usage"]),
    )


def _opening(**more: Any) -> Json:
    known: Json = {"id": "msg_bdrk_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return known | {"content": [], "stop_reason": None, "stop_sequence": None} | more


def _block(block: Json) -> Json:
    if "toolUse" in block:
        used = block["toolUse"]
        return {"type": "tool_use", "id": used["toolUseId"], "name": used["name"], "input": used["input"]}
    if "reasoningContent" in block:
        said = block["reasoningContent"]
        if "redactedContent" in said:
            return {"type": "redacted_thinking", "data": said["redactedContent"]}
        text = said["reasoningText"]
        return {"type": "thinking", "thinking": text["text"], "signature": text.get("signature", "")}
    return {"type": "text", "text": block["text"]}


def chunk(event: Json) -> bytes:
    """One event of a message in its frame."""
    inner = json.dumps(event).encode()
    return frames.event("chunk", {"bytes": base64.b64encode(inner).decode(), "p": "abcdef"})


class _Retold:
    """A Converse stream on its way to Claude's own: as many frames, some of them with two messages."""

    def __init__(self, counted: Json) -> None:
        self._usage = usage(counted)
        self._open: int | None = None

    def frame(self, name: str, said: Json) -> bytes:
        """The frame that stands for one."""
        return b"".join(map(chunk, self._events(name, said)))

    def _events(self, name: str, said: Json) -> list[Json]:
        index = said.get("contentBlockIndex", 0)
        match name:
            case "messageStart":
                opening = _opening(usage=self._usage | {"output_tokens": 1})
                return [{"type": "message_start", "message": opening}]
            case "contentBlockStart":
                used = said["start"]["toolUse"]
                block = {"type": "tool_use", "id": used["toolUseId"], "name": used["name"], "input": {}}
                return self._begun(index, block)
            case "contentBlockDelta":
                return self._delta(index, said["delta"])
            case "contentBlockStop":
                self._open = None
                return [{"type": "content_block_stop", "index": index}]
            case "messageStop":
                delta = {"stop_reason": said["stopReason"], "stop_sequence": None}
                return [{"type": "message_delta", "delta": delta, "usage": self._usage}]
        metrics = {"inputTokenCount": self._usage["input_tokens"], "outputTokenCount": 1}
        return [{"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}]

    def _begun(self, index: int, block: Json) -> list[Json]:
        if self._open == index:
            return []
        self._open = index
        return [{"type": "content_block_start", "index": index, "content_block": block}]

    def _delta(self, index: int, delta: Json) -> list[Json]:
        if "toolUse" in delta:
            opened, told = [], {"type": "input_json_delta", "partial_json": delta["toolUse"]["input"]}
        elif "reasoningContent" in delta:
            said = delta["reasoningContent"]
            if "redactedContent" in said:
                block = {"type": "redacted_thinking", "data": said["redactedContent"]}
                return self._begun(index, block)
            opened = self._begun(index, {"type": "thinking", "thinking": "", "signature": ""})
            if "signature" in said:
                told = {"type": "signature_delta", "signature": said["signature"]}
            else:
                told = {"type": "thinking_delta", "thinking": said["text"]}
        else:
            opened = self._begun(index, {"type": "text", "text": ""})
            told = {"type": "text_delta", "text": delta["text"]}
        return [*opened, {"type": "content_block_delta", "index": index, "delta": told}]


def retold(stream: list[bytes]) -> list[bytes]:
    """A Converse stream in Claude's own form; what is no event of Converse stays as it is."""
    known = []
    for frame in stream:
        try:
            ((head, payload),) = FrameBuffer().frames(frame)
            said = json.loads(payload) if head.kind == "event" else None
        except ValueError:
            said = None  # spoiled on purpose
        known.append(
            (frame, head.name, said) if said is not None and head.name != "chunk" else (frame, "", None)
        )
    counted = {"inputTokens": 0, "outputTokens": 0}
    for _, name, said in known:
        if name == "metadata" and said is not None:
            counted = said["usage"]
    telling = _Retold(counted)
    return [frame if said is None else telling.frame(name, said) for frame, name, said in known]


def claudes(reply: Any) -> Any:
    """A reply that was written for Converse, as InvokeModel gives it."""
    if reply.body is not None and "output" in reply.body:
        return msgspec.structs.replace(reply, body=message(reply.body))
    if reply.frames is not None:
        return msgspec.structs.replace(reply, frames=retold(reply.frames))
    return reply
