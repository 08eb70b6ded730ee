"""Owns the binary frames of AWS event streams: cut at any byte, checked, bounded."""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from zlib import crc32

from botocore.eventstream import EventStreamHeaderParser, ParserError

# What AWS itself bounds: the headers of a frame and its payload.
HEADERS_BYTES_MAX: Final = 128 * 1024
PAYLOAD_BYTES_MAX: Final = 24 * 1024 * 1024

_PRELUDE: Final = struct.Struct(">III")  # whole length, length of the headers, CRC of these two
_CHECKSUM: Final = struct.Struct(">I")
_OVERHEAD_BYTES: Final = _PRELUDE.size + _CHECKSUM.size
# A stream has a handful of distinct headers, and parsing them costs more than all else that is done to a frame.
_KNOWN_HEADERS_MAX: Final = 128
_KNOWN_HEADERS_BYTES_MAX: Final = 512
_NAMED_BY: Final = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}


class FrameError(Exception):
    """Bytes that are no event stream: a wrong checksum, an impossible length, headers that cannot be read."""


class Head:
    """What a frame's headers say: `kind` is event, exception or error, `name` which one, `message` an error's text."""

    __slots__ = ("kind", "message", "name")

    def __init__(self, kind: str, name: str, message: str) -> None:
        self.kind = kind
        self.name = name
        self.message = message


def _parse_headers(data: bytes) -> Head:
    try:
        headers = EventStreamHeaderParser().parse(data)
    except (ParserError, LookupError, ValueError, struct.error) as error:
        raise FrameError("the headers of a frame cannot be read") from error
    kind = headers.get(":message-type")
    if kind not in _NAMED_BY:
        raise FrameError("a frame does not say what it is")
    return Head(kind, str(headers.get(_NAMED_BY[kind], "")), str(headers.get(":error-message", "")))


_parse_known_headers = lru_cache(_KNOWN_HEADERS_MAX)(_parse_headers)


class FrameBuffer:
    """Cuts bytes that arrive in any pieces into whole frames. Holds at most one frame and what came with its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have_bytes = 0
        self._need_bytes = _PRELUDE.size

    @property
    def pending(self) -> bool:
        """Whether part of a frame has arrived, and not its rest."""
        return self._have_bytes > 0

    def frames(self, data: bytes) -> Iterator[tuple[Head, bytes]]:
        """Head and payload of each frame that these bytes complete. Raises FrameError at the first bad one."""
        self._have_bytes += len(data)
        if self._have_bytes < self._need_bytes:
            self._pieces.append(data)
            return
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
        start, have = 0, len(data)
        need = _PRELUDE.size
        while have - start >= _PRELUDE.size:
            whole, headers_bytes = self._lengths(data, start)
            if have - start < whole:
                need = whole
                break
            yield self._frame(data, start, whole, headers_bytes)
            start += whole
        self._pieces = [data[start:]] if start < have else []
        self._have_bytes = have - start
        self._need_bytes = need

    @staticmethod
    def _lengths(data: bytes, start: int) -> tuple[int, int]:
        whole, headers_bytes, checksum = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + 8]) != checksum:
            raise FrameError("the checksum of a frame's lengths is wrong")
        payload_bytes = whole - headers_bytes - _OVERHEAD_BYTES
        if headers_bytes > HEADERS_BYTES_MAX or not 0 <= payload_bytes <= PAYLOAD_BYTES_MAX:
            raise FrameError("a frame has an impossible length")
        return whole, headers_bytes

    @staticmethod
    def _frame(data: bytes, start: int, whole: int, headers_bytes: int) -> tuple[Head, bytes]:
        end = start + whole - _CHECKSUM.size
        if crc32(data[start:end]) != _CHECKSUM.unpack_from(data, end)[0]:
            raise FrameError("the checksum of a frame is wrong")
        payload_start = start + _PRELUDE.size + headers_bytes
        headers = data[start + _PRELUDE.size : payload_start]
        parse = _parse_known_headers if headers_bytes <= _KNOWN_HEADERS_BYTES_MAX else _parse_headers
        return parse(headers), data[payload_start:end]
