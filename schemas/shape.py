"""Owns how much a JSON body may hold, counted while it arrives: what a parse would build is known before it builds it."""

from typing import Final

# Measured: what one call of a decoder makes of the most that these allow takes well below 100 ms of CPU.
KEYS_MAX: Final = 100_000  # of all objects together
OBJECTS_MAX: Final = 1 << 16  # messages, parts of contents, tools and the nodes of their schemas are objects
ARRAYS_MAX: Final = 1 << 16
VALUES_MAX: Final = (
    600_000  # of arrays and objects: the token ids of the largest batch, and what is around them
)
ESCAPES_MAX: Final = 1 << 21  # in strings: each is a step of a decoder
SHORT_BYTES: Final = 1 << 14  # so short a text is within every limit, and soon read

_ESCAPE: Final = b"\\"
_OTHERS: Final = bytes(set(range(256)) - set(b"{[:,\\"))
_PIECE_BYTES: Final = 1 << 16


class TangledError(Exception):
    """A JSON text holds more than is parsed: the message is the limit, in words."""


class Glance:
    """Counts the same in strings as well: never less than there is, at a fifth of the cost."""

    __slots__ = ("escapes", "keys", "objects_or_arrays", "values")

    def __init__(self) -> None:
        self.keys = self.objects_or_arrays = self.escapes = 0
        self.values = 1

    def feed(self, piece: bytes) -> bool:
        """Counts the next piece. Whether all pieces are within every limit for sure."""
        found = piece.translate(None, _OTHERS)
        opened = found.count(b"{") + found.count(b"[")
        self.keys += found.count(b":")
        self.objects_or_arrays += opened
        self.escapes += found.count(_ESCAPE)
        self.values += found.count(b",") + opened
        return (
            self.keys <= KEYS_MAX
            and self.objects_or_arrays <= min(OBJECTS_MAX, ARRAYS_MAX)
            and self.values <= VALUES_MAX
            and self.escapes <= ESCAPES_MAX
        )


class Shape:
    """Counts what stands in a JSON text outside of its strings, piece by piece.

    Of a text that is none it counts rightly up to the fault, where every decoder ends.
    """

    __slots__ = ("_escaped", "_in_string", "arrays", "escapes", "keys", "objects", "values")

    def __init__(self) -> None:
        self.keys = self.objects = self.arrays = self.escapes = 0
        self.values = 1
        self._in_string = self._escaped = False

    def feed(self, piece: bytes) -> None:
        """Counts the next piece. Raises TangledError at the first that goes beyond a limit."""
        outside = self._outside(piece)
        self._check("escapes in strings", self.escapes, ESCAPES_MAX)
        if not outside:
            return
        self.keys += outside.count(b":")
        opened = outside.count(b"{"), outside.count(b"[")
        self.objects += opened[0]
        self.arrays += opened[1]
        self.values += outside.count(b",") + sum(opened)
        self._check("keys of objects", self.keys, KEYS_MAX)
        self._check("objects", self.objects, OBJECTS_MAX)
        self._check("arrays", self.arrays, ARRAYS_MAX)
        self._check("values", self.values, VALUES_MAX)

    def _outside(self, piece: bytes) -> bytes:
        """What of a piece stands outside of strings, without their quotes."""
        if self._escaped:
            piece, self._escaped = piece[1:], not piece
        if _ESCAPE in piece:
            whole = len(piece)
            piece = piece.replace(b"\\\\", b"")
            self.escapes += (whole - len(piece)) // 2 + piece.count(_ESCAPE)
            if piece.endswith(_ESCAPE):
                piece, self._escaped = piece[:-1], True
            piece = piece.replace(b'\\"', b"")
        parts = piece.split(b'"')
        first = int(self._in_string)
        if len(parts) % 2 == 0:
            self._in_string = not self._in_string
        return b"".join(parts[first::2])

    @staticmethod
    def _check(what: str, count: int, count_max: int) -> None:
        if count > count_max:
            raise TangledError(f"more than {count_max} {what}")


def check(text: bytes) -> None:
    """Raises TangledError for a whole JSON text that holds more than is parsed."""
    if len(text) <= SHORT_BYTES:
        return
    shape = Shape()
    for start in range(0, len(text), _PIECE_BYTES):
        shape.feed(text[start : start + _PIECE_BYTES])
