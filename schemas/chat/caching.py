"""Owns how long a request asks for its prompt to be kept in a provider's cache, wherever in a body it says so."""

from typing import Any

import msgspec

from schemas.asked import Fields
from schemas.json import UNREADABLE

SHORT_TTLS = frozenset(("5m", "30m"))  # written at the price of `cache_write`
LONG_TTLS = frozenset(("1h", "12h"))  # at that of `cache_write_long`

_FIELDS = frozenset(("cache_control", "prompt_cache_breakpoint", "prompt_cache_options"))
_BYTES_MIN = len('{"ttl":1}')
_decode = msgspec.json.Decoder().decode


def ttls(fields: Fields) -> set[str]:
    """Every lifetime that a body names for a cache, as it writes it; "" for what is no text or cannot be read."""
    found: set[str] = set()
    for name, value in fields.items():
        raw = bytes(value)
        if len(raw) >= _BYTES_MIN and may_name(raw):
            try:
                _collect({name: _decode(raw)}, found)
            except UNREADABLE:
                found.add("")
    return found


def may_name(raw: bytes) -> bool:
    """Whether raw JSON may name a lifetime at all. A key may be written with escapes."""
    return b'ttl"' in raw or b"\\u00" in raw


def _collect(root: Any, found: set[str]) -> None:
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key in _FIELDS and isinstance(inner, dict) and inner.get("ttl") is not None:
                    ttl = inner["ttl"]
                    found.add(ttl if isinstance(ttl, str) else "")
                waiting.append(inner)
