"""Owns how much longer a history of tool calls may be in a translation than as its caller wrote it."""

import re
from typing import Final

# The most that each call, and each result, adds: ids and names that are told in another way, the name that some
# families want said again beside a result, and what is put around arguments that were cut.
CALL_TOKENS: Final = 64
_ESCAPED: Final = re.compile(rb"\\u00[4-7][0-9a-fA-F]")  # a letter of a key that would not be found


def growth_tokens(history: bytes, *signs: bytes) -> int:
    """The bound of that for a raw list of messages or items, in tokens; each call and each result has one of `signs`."""
    count = sum(history.count(sign) for sign in signs)
    if b"\\u00" in history:
        count += len(_ESCAPED.findall(history))
    return CALL_TOKENS * count
