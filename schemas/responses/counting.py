"""Owns how many tokens the input of a Responses request likely is: an estimate, without a call and without a bill."""

import math
from typing import Any, Final

import msgspec

from schemas.chat.request import ChatRequest
from schemas.estimates.sample import of_texts
from schemas.estimates.starts import start_of
from schemas.estimates.weighed import tokens_of

_PICTURE_TOKENS: Final = 1_600
_FILE_BYTES_PER_TOKEN: Final = 3_000 / 2_000  # a page of some 3,000 bytes is some 2,000 tokens
_MESSAGE_TOKENS: Final = 8


def likely_tokens(request: ChatRequest, upstream: str) -> int:
    """What a chat request's messages, tools and answer format come to at a model."""
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
    said = [text if isinstance(text, str) else msgspec.json.encode(text).decode() for text in texts if text]
    text_tokens = tokens_of(of_texts(said), start_of(upstream).factor)
    return text_tokens + media + _MESSAGE_TOKENS * len(request.messages)
