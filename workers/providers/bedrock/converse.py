"""Owns one Converse call: the answer and the event stream of Bedrock's one dialect for all chat models."""

# ruff: noqa: N815  the Converse API's names

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.catalogue.bedrock import region_uplifts
from schemas.catalogue.model import Model
from schemas.dialects.blobs import Blob
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.providers.bedrock.auth import Signer
from workers.providers.bedrock.errors import MALFORMED
from workers.providers.bedrock.messages import THOUGHT, Json, encode_thoughts, without_reasoning
from workers.providers.bedrock.stream import BedrockExchange
from workers.providers.counts import believed
from workers.providers.faults import CUT, NONSENSE

FAMILY: Final = "bedrock"

_STOP_SEQUENCE: Final = "stop_sequence"
FINISH: Final = {
    "end_turn": "stop",
    _STOP_SEQUENCE: "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
MALFORMED_REASONS: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
_TTL_LONG: Final = "1h"
_STANDARD_TIERS: Final = frozenset({"default", "standard"})


class CacheDetail(Struct):
    """Tokens written to a cache that lives for `ttl`."""

    ttl: str = ""
    inputTokens: int = 0


class Usage(Struct):
    """What Bedrock counts. `inputTokens` leaves out what was read from or written to a cache."""

    inputTokens: int = 0
    outputTokens: int = 0
    totalTokens: int = 0
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    cacheDetails: list[CacheDetail] | None = None


class _Tier(Struct):
    type: str = ""


class _ToolUse(Struct):
    toolUseId: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    type: str | None = None


class _Text(Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(Struct):
    reasoningText: _Text | None = None
    redactedContent: str | None = None


class _Block(Struct):
    text: str | None = None
    toolUse: _ToolUse | None = None
    reasoningContent: _Reasoning | None = None


class _More(Struct):
    """What is asked for beside Converse's own fields, and Claude alone has."""

    stop_sequence: Any = None


class _Message(Struct):
    content: list[_Block] = []


class _Output(Struct):
    message: _Message


class _Answer(Struct):
    output: _Output
    stopReason: str
    usage: Usage
    serviceTier: _Tier | None = None
    additionalModelResponseFields: _More | None = None


class _Start(Struct):
    toolUse: _ToolUse | None = None


class _BlockStart(Struct):
    start: _Start
    contentBlockIndex: int = 0


class _ToolDelta(Struct):
    input: str = ""


class _ReasoningDelta(Struct):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class _Delta(Struct):
    text: str | None = None
    toolUse: _ToolDelta | None = None
    reasoningContent: _ReasoningDelta | None = None


class _BlockDelta(Struct):
    delta: _Delta
    contentBlockIndex: int = 0


class _BlockStop(Struct):
    contentBlockIndex: int = 0


class _Stop(Struct):
    stopReason: str
    additionalModelResponseFields: _More | None = None


class _Metadata(Struct):
    usage: Usage
    serviceTier: _Tier | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_start = msgspec.json.Decoder(_BlockStart).decode
_decode_delta = msgspec.json.Decoder(_BlockDelta).decode
_decode_stop_block = msgspec.json.Decoder(_BlockStop).decode
_decode_stop = msgspec.json.Decoder(_Stop).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def token_usage(usage: Usage) -> TokenUsage:
    """Usage in classes. Families that count the cache inside `inputTokens` give themselves away by the total."""
    read, written = usage.cacheReadInputTokens or 0, usage.cacheWriteInputTokens or 0
    details = usage.cacheDetails or ()
    if usage.cacheWriteInputTokens is None:
        written = sum(detail.inputTokens for detail in details)
    long = min(written, sum(detail.inputTokens for detail in details if detail.ttl == _TTL_LONG))
    fresh = usage.inputTokens
    if read + written and usage.totalTokens == fresh + usage.outputTokens:
        fresh = max(0, fresh - read - written)
    return TokenUsage(
        input=fresh,
        cached=read,
        cache_write=written - long,
        cache_write_long=long,
        output=usage.outputTokens,
    )


class ConverseExchange(BedrockExchange):
    """One Converse or ConverseStream call."""

    def __init__(self, job: Job, model: Model, body: bytes, answer: Answer, signer: Signer) -> None:
        self._keeps_thoughts = model.capabilities.thinking in ("budget", "effort")
        # The price of a row is that of exactly its id: a region that it has no factor for is in it.
        self._regions = tuple(
            name for name in region_uplifts(model.upstream) if job.price is None or name in job.price.uplifts
        )
        verb = "converse-stream" if job.stream else "converse"
        super().__init__(model, body, answer, signer, verb=verb, accept="Accept")

    def _restart(self) -> None:
        super()._restart()
        self.uplifts = self._regions
        self._matched: str | None = None  # the stop sequence that was met
        self._tool: int | None = None  # the block whose arguments come now
        self._skipped: set[int] = set()
        self._reasoning: dict[int, dict[str, Any]] = {}

    def forget_thoughts(self) -> bool:
        """Takes earlier reasoning out of the request: what another provider or region gave cannot be verified."""
        bare = without_reasoning(self._body)
        self._body = bare or self._body
        return bare is not None

    def answer(self, body: bytes) -> bytes:
        """The caller's body for a whole 2xx answer."""
        try:
            answer = mending(_decode_answer, body)
            return self._whole(answer)
        except UNREADABLE:
            self.fault = NONSENSE
            return b""

    def _whole(self, answer: _Answer) -> bytes:
        render = self._render
        self._count(answer.usage, answer.serviceTier)
        for index, block in enumerate(answer.output.message.content):
            if block.text:
                render.text(0, block.text)
            elif block.toolUse is not None and block.toolUse.type is None:
                self._open_tool(block.toolUse)
                render.arguments(0, msgspec.json.format(bytes(block.toolUse.input), indent=-1).decode())
            elif block.reasoningContent is not None:
                self._keep(index, block.reasoningContent)
        self.output_bytes = render.output_bytes
        self._stopped(answer.stopReason, answer.additionalModelResponseFields)
        return self._end()

    def close(self) -> bytes:
        """The end of file: a fault unless the usage had come, which is the last of Bedrock's events."""
        if self.fault is None and not self.finished:
            self.fault = MALFORMED if self._reason in MALFORMED_REASONS else CUT
        return b""

    def _event(self, name: str, payload: bytes) -> bytes:
        if name == "contentBlockDelta":
            return self._delta(_decode_delta(payload))
        if name == "contentBlockStart":
            return self._start(_decode_start(payload))
        if name == "contentBlockStop":
            return self._stop_block(_decode_stop_block(payload).contentBlockIndex)
        if name == "messageStop":
            stop = _decode_stop(payload)
            self._stopped(stop.stopReason, stop.additionalModelResponseFields)
            return b""
        if name == "messageStart":
            return self._render.open(0)
        if name == "metadata":
            metadata = _decode_metadata(payload)
            self._count(metadata.usage, metadata.serviceTier)
            return self._end()
        return b""

    def _stopped(self, reason: str, more: _More | None) -> None:
        self._reason = reason
        told = more.stop_sequence if more is not None and reason == _STOP_SEQUENCE else None
        self._matched = told if isinstance(told, str) else None

    def _start(self, event: _BlockStart) -> bytes:
        tool = event.start.toolUse
        if tool is None or tool.type is not None:  # the provider's own tools are not the caller's to answer
            self._skipped.add(event.contentBlockIndex)
            return b""
        self._tool = event.contentBlockIndex
        return self._open_tool(tool)

    def _delta(self, event: _BlockDelta) -> bytes:
        delta = event.delta
        if delta.text is not None:
            return self._render.text(0, delta.text) if delta.text else b""
        if delta.toolUse is not None:
            if event.contentBlockIndex == self._tool:
                return self._render.arguments(0, delta.toolUse.input)
            if event.contentBlockIndex not in self._skipped:  # arguments of no call, or of one that has ended
                self.fault = NONSENSE
        if delta.reasoningContent is not None:
            return self._think(event.contentBlockIndex, delta.reasoningContent)
        return b""

    def _stop_block(self, index: int) -> bytes:
        if index in self._reasoning:
            return self._sign(self._reasoning[index])
        if index != self._tool:
            return b""
        self._tool = None
        return self._render.tool_end(0)

    def _open_tool(self, tool: _ToolUse) -> bytes:
        if self._keeps_thoughts and self._reasoning and not self.thoughts:
            self.thoughts[tool.toolUseId] = encode_thoughts(list(self._reasoning.values()))
        return self._render.tool(0, tool.toolUseId, tool.name)

    def _think(self, index: int, delta: _ReasoningDelta) -> bytes:
        """Tells reasoning, and keeps it where the next turn must show it again."""
        if self._keeps_thoughts and delta.redactedContent:
            self._reasoning[index] = {"redactedContent": delta.redactedContent}
        elif self._keeps_thoughts:
            kept = self._reasoning.setdefault(index, {"reasoningText": {"text": ""}})["reasoningText"]
            kept["text"] += delta.text or ""
            if delta.signature:
                kept["signature"] = delta.signature
        return self._render.reasoning(0, delta.text or "")

    def _sign(self, block: Json) -> bytes:
        if "redactedContent" not in block and "signature" not in block["reasoningText"]:
            return b""
        return self._render.signature(0, Blob(FAMILY, self._upstream, THOUGHT, encode_thoughts([block])))

    def _keep(self, index: int, block: _Reasoning) -> None:
        said = block.reasoningText or _Text()
        self._think(index, _ReasoningDelta(said.text, said.signature, block.redactedContent))
        if index in self._reasoning:
            self._sign(self._reasoning[index])

    def _count(self, usage: Usage, tier: _Tier | None) -> None:
        self.usage = believed(token_usage(usage))
        if tier is not None and tier.type and tier.type not in _STANDARD_TIERS:
            self.uplifts = (*self._regions, tier.type)

    def _end(self) -> bytes:
        if self._reason is None:
            self.fault = CUT
        elif self._reason in MALFORMED_REASONS:
            self.fault = MALFORMED
        if self.fault is not None:
            return b""
        self.finished = True
        # An unknown reason is a way of ending that is newer than this table.
        finish = self._render.finish(0, FINISH.get(self._reason or "", "stop"), self._matched)
        return finish + self._render.end(self.usage, self.uplifts)
