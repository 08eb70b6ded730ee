"""Owns usage as Responses report it: the same classes as in chat, under names of their own."""

from typing import Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.providers.openai import usage as chat

_NAMES: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def token_usage(raw: Raw, *, long_cache: bool) -> TokenUsage | None:
    """Token classes of one usage object; None if it is no usage, or makes no sense."""
    try:
        fields = _decode_map(raw)
    except UNREADABLE:
        return None
    renamed = {_NAMES.get(name, name): value for name, value in fields.items()}
    return chat.token_usage(_encode(renamed), long_cache=long_cache)
