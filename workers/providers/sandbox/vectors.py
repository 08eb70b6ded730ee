"""Owns the sandbox's vectors: of unit length, and made of nothing but a hash of their input, so the same every time."""

import asyncio
import base64
import hashlib
import math
import struct
from collections.abc import AsyncIterator

import msgspec
from msgspec import Raw, Struct

from schemas.bus.usage import estimate_tokens
from schemas.chat.priced import RequestError
from schemas.embeddings.request import BASE64, form, inputs
from schemas.errors import WireError, invalid
from schemas.json import UNREADABLE

DIMENSIONS = 1_536  # as many as most clients have set up their tables for


class Request(Struct):
    """A request for embeddings, as far as the sandbox looks."""

    model: str
    input: Raw
    dimensions: int = DIMENSIONS
    encoding_format: str = "float"


_decode = msgspec.json.Decoder(Request).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Request | WireError:
    """A body, or the 400 that it gets."""
    try:
        asked = _decode(body)
        inputs(asked.input)
    except UNREADABLE as fault:
        return invalid(f"The body is no request for embeddings: {str(fault)[:200]}")
    except RequestError as refused:
        return refused.error
    if not 1 <= asked.dimensions <= DIMENSIONS:
        return invalid(f"'dimensions' must be from 1 to {DIMENSIONS}.", param="dimensions")
    return asked


async def answer(asked: Request) -> AsyncIterator[bytes]:
    """The body in pieces, one a vector: other calls run between them."""
    data = bytes(asked.input)
    found = inputs(asked.input)
    shape = form(data)
    each = [bytes(item) for item in _decode_list(data)] if shape is not None and shape.many else [data]
    yield b'{"object":"list","data":['
    for index, item in enumerate(each):
        comma = b"," if index else b""
        yield comma + b'{"object":"embedding","index":%d,"embedding":%b}' % (index, _shown(item, asked))
        await asyncio.sleep(0)
    tokens = sum(found.sizes) if found.tokens else sum(map(estimate_tokens, found.sizes))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    yield b'],"model":%b,"usage":%b}' % (_encode(asked.model), _encode(usage))


def vector(item: bytes, dimensions: int) -> list[float]:
    """The vector of one input, by its JSON."""
    digest = hashlib.shake_256(msgspec.json.encode(msgspec.json.decode(item))).digest(2 * dimensions)
    values = [value + 0.5 for value in struct.unpack(f"<{dimensions}h", digest)]
    length = math.hypot(*values)
    return [value / length for value in values]


def _shown(item: bytes, asked: Request) -> bytes:
    values = vector(item, asked.dimensions)
    if asked.encoding_format != BASE64:
        return _encode(values)
    return b'"%b"' % base64.b64encode(struct.pack(f"<{len(values)}f", *values))
