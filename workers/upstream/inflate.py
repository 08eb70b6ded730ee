"""Owns answers that come compressed although none was asked for: unpacked in bounded pieces, so that nothing is a bomb."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final, Protocol

PIECE_BYTES_MAX: Final = 64 * 1024  # of unpacked bytes in one read: readers bound what they gather of them

_ANY_WRAPPER: Final = zlib.MAX_WBITS | 32  # gzip or zlib, by its own head
_GZIP: Final = b"\x1f\x8b"
_ENCODINGS: Final = frozenset(("gzip", "x-gzip", "deflate"))


class InflateError(Exception):
    """Bytes that are not what their encoding says, or that end too soon."""


class _Answer(Protocol):
    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes: ...

    def close(self) -> None: ...


def inflates(encoding: str) -> bool:
    """Whether a content encoding can be unpacked here."""
    return encoding.strip().lower() in _ENCODINGS


class Inflated:
    """An answer with its body unpacked. `read` raises what the answer's own does, and InflateError."""

    __slots__ = ("_answer", "_packed", "_unpack", "headers", "status")

    def __init__(self, answer: _Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._unpack = zlib.decompressobj(_ANY_WRAPPER)
        self._packed = b""  # read, and not unpacked yet

    async def read(self) -> bytes:
        """At most PIECE_BYTES_MAX unpacked bytes, at least one; b"" at the end."""
        while True:
            if self._packed:
                await asyncio.sleep(
                    0
                )  # a body that unpacks to a thousand times itself must not hold the loop
            packed = self._packed or await self._answer.read()
            if not packed and not self._unpack.eof:
                raise InflateError("cut")
            if self._unpack.eof:
                # Servers that pack each piece by itself send one member after another. Anything else is padding.
                if packed == _GZIP[:1]:
                    packed += await self._answer.read()
                if not packed.startswith(_GZIP):
                    self._packed = b""
                    if packed:
                        continue
                    return b""
                self._unpack = zlib.decompressobj(_ANY_WRAPPER)
            try:
                data = self._unpack.decompress(packed, PIECE_BYTES_MAX)
            except zlib.error as error:
                raise InflateError("not what its encoding says") from error
            self._packed = self._unpack.unused_data or self._unpack.unconsumed_tail
            if data:
                return data

    def close(self) -> None:
        """As the answer's own."""
        self._answer.close()
