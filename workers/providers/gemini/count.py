"""Owns Gemini's own count of a prompt: countTokens, which is free."""

from typing import Annotated, Final
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from schemas.bus.usage import TOKENS_MAX
from workers.upstream.request import UpstreamRequest

_GENERATING: Final = frozenset(("generateContent", "streamGenerateContent?alt=sse"))


class _Counted(Struct, rename="camel"):
    total_tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX)]


_encode: Final = msgspec.json.Encoder().encode


def count_request(request: UpstreamRequest) -> UpstreamRequest | None:
    """The question for a generateContent call, with its account's own key; None for any other call."""
    address, _, verb = request.url.rpartition(":")
    if verb not in _GENERATING:
        return None
    name = _encode(f"models/{unquote(address.rpartition('/')[2])}")
    body = b'{"generateContentRequest":{"model":%b,%b}' % (name, request.body[1:])
    return UpstreamRequest("POST", f"{address}:countTokens", request.headers, body)
