"""Owns the first bytes of media that travels as base64: no more is decoded than is looked at."""

import binascii
from typing import Final

STRETCH_BYTES: Final = 768  # holds what most pictures say of their size
HEAD_BYTES_MAX: Final = 98_304  # the most that is looked at in one file


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


def _chars(count: int) -> int:
    return -(-count // 3) * 4
