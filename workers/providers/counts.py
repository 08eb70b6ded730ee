"""Owns which figures of tokens are believed, and what stands for those that are missing: an estimate.

What the books refuse would be free, so no more is believed than they take.
"""

from typing import Any

import msgspec
from msgspec import Raw

from schemas.bus.usage import TOKENS_MAX, estimate, estimate_tokens, in_range
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage


def is_count(tokens: int | None) -> bool:
    """Whether a figure can be one, or is not there."""
    return tokens is None or 0 <= tokens <= TOKENS_MAX


def is_odd(raw: Raw) -> bool:
    """Whether a usage object has a figure that is none: negative, or beyond all measure."""
    try:
        return _has_odd(msgspec.json.decode(raw))
    except UNREADABLE:
        return True


def _has_odd(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_odd, value.values()))
    return isinstance(value, int) and not 0 <= value <= TOKENS_MAX


def believed(usage: TokenUsage) -> TokenUsage | None:
    """The usage, or None if a class of it cannot be."""
    return usage if in_range(usage) else None


def counted_on(usage: TokenUsage, output_bytes: int, output_max: int) -> TokenUsage:
    """The usage with its output raised to what was produced, as it is estimated, of an answer never counted to its end."""
    produced = estimate_tokens(output_bytes)
    return estimate(
        usage, prompt_max=0, text_bytes=0, output_max=output_max, output_tokens=produced, answered=True
    )
