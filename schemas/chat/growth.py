"""Owns how much longer a history of tool calls may be in a translation than as its caller wrote it."""

from typing import Final

# The most that each call, and each result, adds: ids and names that are told in another way, the name that some
# families want said again beside a result, and what is put around arguments that were cut.
CALL_TOKENS: Final = 64
# Each begins a letter of a key that would not be found.
_ESCAPED: Final = (b"\\u004", b"\\u005", b"\\u006", b"\\u007")


def growth_tokens(history: bytes, *signs: bytes) -> int:
    """The bound of that for a raw list of messages or items, in tokens; each call and each result has one of `signs`."""
    count = sum(history.count(sign) for sign in signs)
    if b"\\u00" in history:
        count += sum(history.count(escaped) for escaped in _ESCAPED)
    return CALL_TOKENS * count
