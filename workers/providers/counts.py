"""Owns which figures of tokens are believed, and what stands for those that are missing: an estimate.

What the books refuse would be free, so no more is believed than they take.
"""

from typing import Any

import msgspec
from msgspec import Raw

from schemas.bus.usage import TOKENS_MAX, estimate, in_range
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage


def is_count(tokens: int | None) -> bool:
    """Whether a figure can be one, or is not there."""
    return tokens is None or 0 <= tokens <= TOKENS_MAX


def figure(body: bytes, name: str) -> int | None:
    """The whole number that an object has under a name; None where there is none."""
    try:
        value = msgspec.json.decode(body, type=dict[str, Any]).get(name)
    except UNREADABLE:
        return None
    return value if type(value) is int and is_count(value) else None


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


def counted_on(usage: TokenUsage, produced: int, output_max: int) -> TokenUsage:
    """The usage with its output raised to the tokens produced, as estimated, of an answer never counted to its end."""
    return estimate(
        usage, prompt_max=0, prompt_tokens=0, output_max=output_max, output_tokens=produced, answered=True
    )
