"""Owns what reading JSON that others wrote can raise, and the one mistake in it that is put right: half of a character."""

import codecs
import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from schemas.shape import TangledError

# RecursionError and UnicodeDecodeError are not msgspec's own, and hostile bodies raise both.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TangledError)
HALVES_MAX: Final = 10_000  # escapes of surrogates that are looked at: each takes a step of the loop

Value = TypeVar("Value")

_PIECE_BYTES: Final = 1 << 20  # of a text that is looked at in one step
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_HALF_BYTES: Final = len(rb"\ud83d")
_HIGH: Final = b"89abAB"  # the fourth byte of the first half of a pair
_REPLACEMENT: Final = rb"\ufffd"  # as long as what it stands for
_RUN_BYTES_MAX: Final = 1_024  # of backslashes one after the other


def check_text(raw: bytes) -> None:
    """Raises UnicodeDecodeError for what is no UTF-8. A long text is never decoded whole: it may take four times its bytes."""
    if len(raw) <= _PIECE_BYTES:
        raw.decode()
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _PIECE_BYTES):
        decoder.decode(raw[start : start + _PIECE_BYTES])
    decoder.decode(b"", final=True)


def paired(raw: bytes) -> bytes:
    """JSON with U+FFFD for each escape of a lone surrogate; the same object where there is none.

    Some clients and models cut a text amid a character. No reader of strict JSON takes that, and it costs the rest.
    """
    lone: list[int] = []
    pending = -1  # where a first half begins whose second may follow
    for seen, found in enumerate(_HALF.finditer(raw)):
        at = found.start()
        if seen == HALVES_MAX:
            return raw
        if _is_text(raw, at):
            continue
        follows = pending >= 0 and at == pending + _HALF_BYTES
        if pending >= 0 and not (follows and raw[at + 3] not in _HIGH):
            lone.append(pending)
        if raw[at + 3] in _HIGH:
            pending = at
            continue
        if not follows:
            lone.append(at)
        pending = -1
    if pending >= 0:
        lone.append(pending)
    if not lone:
        return raw
    mended = bytearray(raw)
    for at in lone:
        mended[at : at + _HALF_BYTES] = _REPLACEMENT
    return bytes(mended)


def _is_text(raw: bytes, at: int) -> bool:
    """Whether the backslash at a place is itself escaped."""
    before = raw[max(0, at - _RUN_BYTES_MAX) : at] if raw[at - 1 : at] == b"\\" else b""
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1


def mending(decode: Callable[[bytes], Value], raw: bytes) -> Value:
    """What `decode` makes of some JSON, lone surrogates replaced where it takes none. Raises what `decode` raises."""
    try:
        return decode(raw)
    except UNREADABLE:
        if (mended := paired(raw)) is raw:
            raise
    return decode(mended)
