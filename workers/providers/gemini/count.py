"""Owns Gemini's own count of a prompt: countTokens, which is free."""

from typing import Final
from urllib.parse import unquote

import msgspec

from workers.upstream.request import UpstreamRequest

_GENERATING: Final = frozenset(("generateContent", "streamGenerateContent?alt=sse"))

_encode: Final = msgspec.json.Encoder().encode


def generates(request: UpstreamRequest) -> bool:
    """Whether it is a generateContent call: no other can be counted."""
    return request.url.rpartition(":")[2] in _GENERATING


def count_request(request: UpstreamRequest) -> UpstreamRequest:
    """The question for a generateContent call, with its account's own key."""
    address = request.url.rpartition(":")[0]
    name = _encode(f"models/{unquote(address.rpartition('/')[2])}")
    body = b'{"generateContentRequest":{"model":%b,%b}' % (name, request.body[1:])
    return UpstreamRequest("POST", f"{address}:countTokens", request.headers, body)
