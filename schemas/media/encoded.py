"""Owns the first bytes of media that travels as base64: no more is decoded than is looked at."""

import binascii
from collections.abc import Iterator
from typing import Final

STRETCH_BYTES: Final = 768  # holds what most pictures say of their size
HEAD_BYTES_MAX: Final = 98_304  # the most that is looked at in one file
_PIECE_CHARS: Final = 1 << 20  # of a text that is decoded in one step; whole groups of four
_PIECE_BYTES: Final = _PIECE_CHARS // 4 * 3


def first_bytes(data: str, start: int, count: int) -> bytes:
    """The first bytes of the base64 text that begins at `start`; b"" if there is anything else in them.

    Providers may skip what is no base64: a figure read behind a gap would not be the one that they read.
    """
    try:
        return binascii.a2b_base64(data[start : start + _chars(count)], strict_mode=True)
    except ValueError:  # not ASCII, no base64, or cut within a group
        return b""


def size_bytes(data: str, start: int) -> int:
    """The most bytes that the base64 text from `start` on can stand for."""
    return (len(data) - start) * 3 // 4


def pieces(data: str) -> Iterator[bytes]:
    """What a base64 text stands for, piece by piece: its decoder lets nothing else run. Raises ValueError."""
    for start in range(0, len(data), _PIECE_CHARS):
        piece = binascii.a2b_base64(data[start : start + _PIECE_CHARS], strict_mode=True)
        if len(piece) < _PIECE_BYTES and start + _PIECE_CHARS < len(data):
            raise ValueError("the base64 text goes on after its end")
        yield piece


def _chars(count: int) -> int:
    return -(-count // 3) * 4
