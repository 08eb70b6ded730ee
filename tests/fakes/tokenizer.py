"""Owns the truth about texts in tests: how many tokens OpenAI's own vocabulary makes of them."""

import functools
import warnings
from typing import Any


@functools.cache
def _vocabulary() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how the package opens its own files
        import bpe_openai  # noqa: PLC0415  it takes a second and 100 MB: for those tests alone that count

        return bpe_openai.get_encoding("o200k_base")


@functools.lru_cache(maxsize=8192)
def tokens(text: str) -> int:
    """A text's tokens."""
    return len(_vocabulary().encode(text))
