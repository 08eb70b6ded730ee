"""Owns how the input of a custom tool is read out of the arguments that stand for it, while they arrive."""

import re
from typing import Final

import msgspec
from msgspec import Struct

from schemas.json import UNREADABLE, mending

_OPENING: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_NOTHING: Final = "{}"
_PIECE: Final = re.compile(r'(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*')
_HIGH_SURROGATE: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_decode_text = msgspec.json.Decoder(str).decode


class _Wrapped(Struct):
    input: str


_decode = msgspec.json.Decoder(_Wrapped).decode


class CustomInput:
    """The text in `{"input": "…"}`. Arguments of any other form are the input themselves, told at their end."""

    __slots__ = ("_at", "_inside", "_raw", "told")

    def __init__(self) -> None:
        self._raw = ""
        self._at = 0  # how far of it has been told
        self._inside = False
        self.told = ""

    def feed(self, fragment: str) -> str:
        """What a further piece of the arguments adds to the input."""
        self._raw += fragment
        if not self._inside:
            found = _OPENING.match(self._raw)
            if found is None:
                return ""
            self._inside, self._at = True, found.end()
        found = _PIECE.match(self._raw, self._at)
        piece = found[0] if found is not None else ""
        if split := _HIGH_SURROGATE.search(piece):
            piece = piece[: split.start()]  # its other half is still to come
        try:
            text = mending(_decode_text, f'"{piece}"'.encode())
        except UNREADABLE:
            return ""  # it is told at the end, if it can be read there
        self._at += len(piece)
        self.told += text
        return text

    def end(self) -> str:
        """The rest of the input: what has been told stays, whatever came after it."""
        try:
            whole = mending(_decode, self._raw.encode()).input
        except UNREADABLE:
            whole = self.told if self._inside or self._raw.strip() == _NOTHING else self._raw
        rest = whole.removeprefix(self.told) if whole.startswith(self.told) else ""
        self.told += rest
        return rest
