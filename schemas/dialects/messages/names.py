"""Owns names and ids that other providers do not take: how they are told, the same way each time."""

import hashlib
import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)  # OpenAI's bound is the smallest
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_KEPT_CHARS: Final = 55


def told_name(name: str) -> str:
    """A tool's name as any provider takes it: its own, or its beginning with a digest of the whole behind it."""
    if _NAME.fullmatch(name):
        return name
    cleaned = _OTHER.sub("_", name)
    start = cleaned if _NAME.match(cleaned) else f"_{cleaned}"
    return f"{start[:_KEPT_CHARS]}_{_digest(name)[:8]}"


def told_id(call_id: str) -> str:
    """A call's id as any provider takes it."""
    return call_id if _ID.fullmatch(call_id) else f"call_{_digest(call_id)[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
