"""Owns how many tokens the input of a Responses request likely is: an estimate, without a call and without a bill."""

import math
from typing import Any, Final

import msgspec

from schemas.chat.request import ChatRequest

_BYTES_PER_TOKEN: Final = 3.5
_PICTURE_TOKENS: Final = 1_600
_FILE_BYTES_PER_TOKEN: Final = 3_000 / 2_000  # a page of some 3,000 bytes is some 2,000 tokens
_MESSAGE_TOKENS: Final = 8


def likely_tokens(request: ChatRequest) -> int:
    """What a chat request's messages, tools and answer format come to."""
    media = 0
    texts: list[Any] = [request.tools, request.response_format]
    for message in request.messages:
        calls = [(call.function or call.custom) for call in message.tool_calls or ()]
        texts += [message.refusal, *calls]
        if not isinstance(message.content, list):
            texts.append(message.content)
            continue
        for part in message.content:
            kind = part.__struct_config__.tag
            if kind in ("text", "refusal"):
                texts.append(getattr(part, str(kind)))
            elif kind == "file":
                media += math.ceil(len(msgspec.json.encode(part)) / _FILE_BYTES_PER_TOKEN)
            else:
                media += _PICTURE_TOKENS
    said = sum(len(msgspec.json.encode(text)) for text in texts if text)
    return math.ceil(said / _BYTES_PER_TOKEN) + media + _MESSAGE_TOKENS * len(request.messages)
