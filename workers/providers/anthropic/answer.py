"""Owns what Anthropic answers: the shapes of messages and events as far as they are read, and their usage."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.money.pricing import TokenUsage
from workers.providers.counts import is_count

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class CacheCreation(Struct):
    """Cache writes by their lifetime."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct):
    """What of the output was reasoning."""

    thinking_tokens: int | None = None


class Usage(Struct):
    """Usage as the API reports it: the input classes exclude one another."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None

    def __post_init__(self) -> None:
        if not is_count(self.output_tokens):
            self.output_tokens = None  # it was not counted: what was produced is estimated

    def over(self, before: "Usage | None", *, opened: bool = False) -> "Usage":
        """Running totals: what this one says replaces what was said before, nothing is added, and a 0 lowers nothing.

        `opened`: what was said before is a stream's opening, whose output is a placeholder.
        """
        if before is None:
            return self
        merged: Usage = _newest(before, self)
        if opened and self.output_tokens is not None:
            merged.output_tokens = self.output_tokens
        return merged

    def tokens(self) -> TokenUsage | None:
        """The same as token classes; None if the prompt has no figure that can be. Of the others one that cannot is none."""
        told = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        if not is_count(self.input_tokens) or told == (None, None, None):
            return None
        split = self.cache_creation or CacheCreation()
        hour = _count(split.ephemeral_1h_input_tokens)
        written = self.cache_creation_input_tokens
        total_written = _count(split.ephemeral_5m_input_tokens) + hour if written is None else _count(written)
        hour = min(hour, total_written)
        output = _count(self.output_tokens)
        details = self.output_tokens_details
        thinking = min(_count(details.thinking_tokens), output) if details is not None else 0
        return TokenUsage(
            input=_count(self.input_tokens),
            cached=_count(self.cache_read_input_tokens),
            cache_write=total_written - hour,
            cache_write_long=hour,
            output=output - thinking,
            reasoning=thinking,
        )

    def uplifts(self) -> tuple[str, ...]:
        """Names of what changes the price: service tier, region, speed."""
        names = (self.service_tier, self.inference_geo, self.speed)
        return tuple(name for name in names if name not in (None, "standard", "global", "not_available"))


def _newest(before: Any, now: Any) -> Any:
    """The later word of two, part by part. A server that counts anew sends zeros for what it has said already."""
    if before is None or now is None:
        return before if now is None else now
    if isinstance(now, Struct):
        names = now.__struct_fields__
        return type(now)(*(_newest(getattr(before, name), getattr(now, name)) for name in names))
    return now or before


def _count(tokens: int | None) -> int:
    return tokens if tokens is not None and is_count(tokens) else 0


class Block(Struct):
    """One block of content; `input` is whole in a plain answer and a placeholder in a stream."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None  # of a redacted_thinking block
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class Message(Struct):
    """A plain answer, or the beginning of a stream."""

    type: str = "message"
    content: list[Block] = []
    stop_reason: str | None = None
    usage: Usage | None = None
    error: Any = None


class Delta(Struct):
    """What an event adds."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class Event(Struct):
    """One event of a stream, whatever its type."""

    type: str
    index: int = 0
    delta: Delta | None = None
    content_block: Block | None = None
    message: Message | None = None
    usage: Usage | None = None
    error: Any = None


decode_message = msgspec.json.Decoder(Message).decode
decode_event = msgspec.json.Decoder(Event).decode
