"""Owns usage as Responses report it: the same classes as in chat, under names of their own."""

from typing import Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.providers.openai import usage as chat
from workers.providers.openai.usages import Usages

_NAMES: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def token_usage(raw: Raw, *, long_cache: bool, own: bool = True) -> TokenUsage | None:
    """Token classes of one usage object; None if it is no usage, or makes no sense.

    `own` says that OpenAI itself wrote it. Other servers' is read as it is in chat, where it costs the same.
    """
    try:
        fields = _decode_map(raw)
    except UNREADABLE:
        return None
    renamed = Raw(_encode({_NAMES.get(name, name): value for name, value in fields.items()}))
    told = renamed if own else Usages().told(renamed)
    return None if told is None else chat.token_usage(told, long_cache=long_cache)
