"""Owns which figures of tokens are believed, and what stands for those that are missing: an estimate."""

from typing import Final

from msgspec import structs

from schemas.bus.usage import estimate, estimate_tokens
from schemas.money.pricing import TokenUsage

TOKENS_MAX: Final = 10**9  # what the books take of one call: what they refuse would be free


def is_count(tokens: int | None) -> bool:
    """Whether a figure can be one, or is not there."""
    return tokens is None or 0 <= tokens <= TOKENS_MAX


def believed(usage: TokenUsage) -> TokenUsage | None:
    """The usage, or None if a class of it cannot be."""
    counts = structs.astuple(usage)
    return usage if min(counts) >= 0 and max(counts) <= TOKENS_MAX else None


def counted_on(usage: TokenUsage, output_bytes: int, output_max: int) -> TokenUsage:
    """The usage with its output raised to what was produced, as it is estimated, of an answer never counted to its end."""
    produced = estimate_tokens(output_bytes)
    return estimate(
        usage, prompt_max=0, text_bytes=0, output_max=output_max, output_tokens=produced, answered=True
    )
