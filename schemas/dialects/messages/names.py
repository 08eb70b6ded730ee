"""Owns names and ids that other providers do not take: how they are told, the same way each time."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
ID_CHARS_MAX: Final = 40  # OpenAI's bound is the smallest
_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SUFFIX_CHARS: Final = 9  # the digest, and what parts it from what is before it
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_KEPT_CHARS: Final = 55


def told_name(name: str) -> str:
    """A tool's name as any provider takes it: its own, or its beginning with a digest of the whole behind it."""
    if _NAME.fullmatch(name):
        return name
    cleaned = _OTHER.sub("_", name)
    start = cleaned if _NAME.match(cleaned) else f"_{cleaned}"
    return f"{start[:_KEPT_CHARS]}_{_digest(name)[:8]}"


def told_apart(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """How some of the `known` names are told, by their own: each in its way, and none as another tool is called."""
    taken, told = set(known), dict[str, str]()
    for name in names:
        spelt, new = name, told_name(name)
        while new in taken:  # another tool has that very name
            spelt += " "
            new = told_name(spelt)
        taken.add(new)
        told[name] = new
    return told


def told_id(call_id: str, chars_max: int = ID_CHARS_MAX) -> str:
    """A call's id as any provider takes it: its own, or its beginning with a digest of the whole behind it.

    It is at most 9 characters longer.
    """
    if len(call_id) <= chars_max and _ID.fullmatch(call_id):
        return call_id
    kept = _OTHER.sub("_", call_id)[: max(min(len(call_id), chars_max) - _SUFFIX_CHARS, _SUFFIX_CHARS)]
    return f"{kept}_{_digest(call_id)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
