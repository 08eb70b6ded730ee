"""Owns how vectors look to callers: OpenAI's list of embeddings, as numbers or as base64, whatever the family sent."""

import base64
import binascii
import functools
import math
import struct
import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from schemas.bus.frames import Job
from schemas.bus.usage import estimate
from schemas.dialects.prompts import text_tokens
from schemas.embeddings.priced import ANSWER_BYTES_MAX
from schemas.embeddings.request import BASE64, EMBEDDINGS
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.beliefs import is_beyond
from workers.answers.costs import cost

_FLOAT_BYTES: Final = 4
_encode = msgspec.json.Encoder().encode


class VectorError(Exception):
    """What a family sent is no vector, or not one that was asked for."""


def packed(floats: Sequence[float]) -> bytes:
    """A vector as float32, little-endian. Raises VectorError for what float32 cannot say."""
    try:
        return struct.pack(f"<{len(floats)}f", *floats)
    except (struct.error, OverflowError):
        raise VectorError from None


def unpacked(vector: bytes) -> tuple[float, ...]:
    """The numbers of one. Raises VectorError unless all of them are finite."""
    if not vector or len(vector) % _FLOAT_BYTES:
        raise VectorError
    floats = struct.unpack(f"<{len(vector) // _FLOAT_BYTES}f", vector)
    if not math.isfinite(sum(floats)):  # finite float32s never add up to what is not
        raise VectorError
    return floats


def from_base64(text: str) -> bytes:
    """A vector that came as base64. Raises VectorError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VectorError from None


class VectorsAnswer:
    """The answer of one job: its exchanges tell their vectors, in any order and from any thread, and the last one ends it."""

    dialect: ClassVar[str] = EMBEDDINGS

    def __init__(self, job: Job, exchanges: int, *, wanted: int, most: int, encoding: str) -> None:
        """Vectors must have `wanted` dimensions, or at most `most` where none were asked for (0)."""
        self._job = job
        self._exchanges = exchanges
        self._wanted = wanted
        self._most = most
        self._in_base64 = encoding == BASE64
        self._entries: dict[int, list[bytes]] = {}  # by exchange
        self._ended: dict[int, TokenUsage] = {}
        self._lock = threading.Lock()  # around the two

    def restart(self, exchange: int) -> None:
        """Forgets what an exchange has told: another account is tried."""
        with self._lock:
            self._entries.pop(exchange, None)
            self._ended.pop(exchange, None)

    def tell(self, exchange: int, places: Sequence[int], vectors: Sequence[bytes]) -> None:
        """The vectors of an exchange, one for each of these places among the inputs. Raises VectorError."""
        if len(vectors) != len(places):
            raise VectorError
        entries = [self._entry(index, vector) for index, vector in zip(places, vectors, strict=True)]
        with self._lock:
            self._entries[exchange] = entries
            total_bytes = sum(len(entry) for told in self._entries.values() for entry in told)
        if total_bytes > ANSWER_BYTES_MAX:
            raise VectorError

    def _entry(self, index: int, vector: bytes) -> bytes:
        floats = unpacked(vector)
        if len(floats) > self._most or (self._wanted and len(floats) != self._wanted):
            raise VectorError
        shown = b'"%b"' % base64.b64encode(vector) if self._in_base64 else _encode(floats)
        return b'{"object":"embedding","index":%d,"embedding":%b}' % (index, shown)

    def end(self, exchange: int, usage: TokenUsage | None) -> bytes:
        """Ends an exchange: the whole body after the last of them, b"" before.

        Usage is estimated where it is None, or more than the call can have used.
        """
        with self._lock:
            if usage is None or is_beyond(self._job, usage):
                usage = self._estimate()
            self._ended[exchange] = usage
            if len(self._ended) < self._exchanges:
                return b""
        total = sum(self._ended.values(), NO_USAGE)
        job = self._job
        told: dict[str, Any] = {"prompt_tokens": total.prompt, "total_tokens": total.prompt} | cost(job)
        entries = b",".join([entry for index in sorted(self._entries) for entry in self._entries[index]])
        return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (
            entries,
            _encode(job.model),
            _encode(told),
        )

    @functools.cached_property
    def _text_tokens(self) -> int:
        return text_tokens(self._job)

    def _estimate(self) -> TokenUsage:
        """By the rule that bills it."""
        job, exchanges = self._job, self._exchanges
        left = max(job.prompt_max - sum(used.prompt for used in self._ended.values()), 0)
        return estimate(
            None,
            prompt_max=min(job.prompt_max // exchanges, left),
            prompt_tokens=self._text_tokens // exchanges,
            output_max=0,
            output_tokens=0,
            answered=True,
        )
