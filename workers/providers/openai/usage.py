"""Owns usage as OpenAI reports it: cached, audio and reasoning tokens are parts of the totals, never beside them."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.bus.usage import TOKENS_MAX
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: Any = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decode = msgspec.json.Decoder(_Usage).decode
_NONE_BEFORE, _NONE_AFTER = _PromptDetails(), _CompletionDetails()


def token_usage(raw: Raw | bytes, *, long_cache: bool = False, vectors: bool = False) -> TokenUsage | None:
    """Token classes of one usage object; None if it is no usage, makes no sense, or leaves out what a call has.

    `vectors` are no output, so that nobody counts one.

    It does not say how long what was written to a cache is kept: `long_cache` says that the request asked for long.
    """
    try:
        usage = _decode(raw)
    except UNREADABLE:
        return None
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is None:
        return None
    if completion is None:  # OpenAI leaves it out where it is 0, but never the total
        if not vectors and type(usage.total_tokens) is not int:
            return None
        completion = 0 if vectors else usage.total_tokens - prompt
    before = usage.prompt_tokens_details or _NONE_BEFORE
    after = usage.completion_tokens_details or _NONE_AFTER
    parts = (
        before.cached_tokens or 0,
        before.cache_write_tokens or 0,
        before.audio_tokens or 0,
        after.reasoning_tokens or 0,
        after.audio_tokens or 0,
    )
    if min(prompt, completion, *parts) < 0 or max(prompt, completion, *parts) > TOKENS_MAX:
        return None
    if not any(parts):
        return TokenUsage(input=prompt, output=completion)
    cached, written, heard = _within(prompt, parts[:3])
    reasoning, spoken = _within(completion, parts[3:])
    return TokenUsage(
        input=prompt - cached - written - heard,
        cached=cached,
        cache_write=0 if long_cache else written,
        cache_write_long=written if long_cache else 0,
        input_audio=heard,
        output=completion - reasoning - spoken,
        reasoning=reasoning,
        output_audio=spoken,
    )


def lowered(before: TokenUsage, told: TokenUsage) -> bool:
    """Whether a later usage says that nothing was read, or nothing said, of what was counted before: it is none then."""
    return bool((before.prompt and not told.prompt) or (before.completion and not told.completion))


def _within(total: int, parts: tuple[int, ...]) -> list[int]:
    # A part above its total cannot be: the total is what the provider charges for.
    kept: list[int] = []
    for part in parts:
        taken = min(part, total)
        total -= taken
        kept.append(taken)
    return kept
