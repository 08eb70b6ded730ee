"""Owns how long a request asks for its prompt to be kept in a provider's cache, wherever in a body it says so."""

import msgspec
from msgspec import Raw

from schemas.asked import Fields
from schemas.catalogue.model import Model
from schemas.json import UNREADABLE

SHORT_TTLS = frozenset(("5m", "30m"))  # written at the price of `cache_write`
LONG_TTLS = frozenset(("1h", "12h"))  # at that of `cache_write_long`

MARK = "cache_control"
_FIELDS = frozenset((MARK, "prompt_cache_breakpoint", "prompt_cache_options"))
_LEVELS_MAX = 8  # no provider reads one deeper in a message or a tool, and each level is read again
_ITEMS_MAX = 100_000  # of lists and objects that may name one: each takes a step of the loop
_ESCAPED = (b"\\u0074", b"\\u006c", b"\\u006C")
_BYTES_MIN = len('{"ttl":1}')
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def takes_marks(model: Model) -> bool:
    """Whether a model's upstream takes cache marks in Anthropic's words, as callers of Anthropic's write them.

    OpenAI has breakpoints with a name of their own, and caches by itself: it refuses `cache_control`.
    """
    return bool(model.capabilities.cache_points) and MARK in model.forwards.fields(chat=True)


def ttls(fields: Fields) -> set[str]:
    """Every lifetime that a body names for a cache, as it writes it; "" for what is no text or cannot be read."""
    found: set[str] = set()
    for name, value in fields.items():
        raw = bytes(value)
        if len(raw) >= _BYTES_MIN and (b'ttl"' in raw or b"\\u00" in raw) and may_name(raw):
            try:
                _collect({name: value}, found)
            except UNREADABLE:
                found.add("")
    return found


def may_name(raw: bytes) -> bool:
    """Whether raw JSON may name a lifetime at all. A key may be written with escapes, of letters that no text needs."""
    return b'ttl"' in raw or (b"\\u00" in raw and any(sign in raw for sign in _ESCAPED))


def _collect(root: Fields, found: set[str]) -> None:
    # Level by level, and no scalar but a lifetime: a number may be larger than any that can be read.
    level, items = [root], 0
    for _ in range(_LEVELS_MAX):
        deeper: list[Fields] = []
        for fields in level:
            for key, value in fields.items():
                raw = bytes(value)
                if not may_name(raw):
                    continue
                inner = _decode_object(raw) if raw.startswith(b"{") else {}
                listed = _decode_list(raw) if raw.startswith(b"[") else []
                items += len(inner) + len(listed)
                if items > _ITEMS_MAX:
                    found.add("")
                    return
                if key in _FIELDS and "ttl" in inner:
                    found.update(_lifetime(bytes(inner["ttl"]).strip()))
                # What stands in a list has no name of its own.
                deeper += [inner] if inner else [{"": one} for one in listed]
        level = deeper


def _lifetime(raw: bytes) -> tuple[str, ...]:
    if raw == b"null":
        return ()
    return (_decode_text(raw),) if raw.startswith(b'"') else ("",)
