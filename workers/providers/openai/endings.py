"""Owns whether an answer of OpenAI's protocol says why it ends: one without output that does not is no answer."""

import msgspec
from msgspec import Raw, Struct

from schemas.json import UNREADABLE


class _Choice(Struct):
    finish_reason: str | None = None


class _Body(Struct):
    choices: list[_Choice] = []


_decode_choices = msgspec.json.Decoder(list[_Choice]).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def chunk_ends(choices: Raw) -> bool:
    """Whether some choice of a chunk has a finish reason; one of an unknown shape may."""
    try:
        return _any(_decode_choices(choices))
    except UNREADABLE:
        return True


def body_ends(body: bytes) -> bool:
    """The same of a plain body, as it came."""
    try:
        return _any(_decode_body(body).choices)
    except UNREADABLE:
        return True


def _any(choices: list[_Choice]) -> bool:
    return any(choice.finish_reason is not None for choice in choices)
