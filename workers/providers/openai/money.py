"""Owns what compatible servers tell of what a call costs: it is their buyer's business, and reaches no caller."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

DEPTH_MAX: Final = 64  # what stands deeper is left out

_MONEY: Final = re.compile(
    r"cost|pric(?:e|ing)|charge|money|usd|balance|credit|billing|byok|(?:^|_)fees?(?:$|_)", re.IGNORECASE
)
# Within what a server adds, a price may be one of a thing that was searched for.
_OWN_MONEY: Final = re.compile(r"cost|byok|billing", re.IGNORECASE)
_SIGN: Final = re.compile(rb'"[^"\\]*(?:cost|byok|billing)[^"\\]*"\s*:', re.IGNORECASE)
# The answer itself, which is the caller's as it is.
_ANSWER: Final = frozenset(
    (
        "role",
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
        "citations",
        "search_results",
        "text",
        "logprobs",
        "choices",
        "delta",
        "message",
    )
)

_HOLDING: Final = b"{["

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


@lru_cache(maxsize=1_024)
def is_money(name: str) -> bool:
    """Whether a field tells what something costs the gateway's operator: no caller sees those."""
    return _MONEY.search(name) is not None


def take_off(fields: dict[str, Raw]) -> bool:
    """Takes money off an object, in place, however deep it stands in what is no part of the answer. Whether any was.

    Raises UNREADABLE.
    """
    changed = False
    for name, value in list(fields.items()):
        if name in _ANSWER:
            continue
        if is_money(name):
            del fields[name]
            changed = True
        elif memoryview(value)[0] in _HOLDING and _is_signed(bytes(value)):
            fields[name] = Raw(_encode(_clean(_decode(value), 0)))
            changed = True
    return changed


def take_off_choice(choice: dict[str, Raw]) -> bool:
    """The same for a choice, and for its delta or message. Raises UNREADABLE."""
    changed = take_off(choice)
    for name in ("delta", "message"):
        said = bytes(choice.get(name, b""))
        if said[:1] == b"{" and _is_signed(said):
            fields = _decode_map(said)
            if take_off(fields):
                choice[name] = Raw(_encode(fields))
                changed = True
    return changed


def _is_signed(value: bytes) -> bool:
    """Whether some object in a value has a name of a server's own money. The words are looked for first: that is quick."""
    text = value.lower()
    worded = b"cost" in text or b"byok" in text or b"billing" in text
    return worded and _SIGN.search(value) is not None


def _clean(value: Any, depth: int) -> Any:
    if depth >= DEPTH_MAX:
        return None
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {name: _clean(item, depth + 1) for name, item in value.items() if not _OWN_MONEY.search(name)}
    return value
