"""Owns how many tokens a Messages request likely has: what callers decide by when to compact a conversation."""

from typing import Final

_BYTES_A_TOKEN_X10: Final = 35


def likely_tokens(count_bytes: int) -> int:
    """Tokens in so many bytes of what reaches a model: code and JSON have more of them than prose."""
    return -(-count_bytes * 10 // _BYTES_A_TOKEN_X10)
