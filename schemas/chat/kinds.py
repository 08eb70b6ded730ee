"""Owns which kinds of JSON value a field takes at the top of a body: what a provider that judges for itself is spared.

A value's first byte tells its kind, so that a body that is passed on as it is costs no decoding.
"""

from collections.abc import Mapping
from typing import Final

from schemas.asked import Fields

TEXT: Final = b'"'
NUMBER: Final = b"-0123456789"
FLAG: Final = b"tf"
LIST: Final = b"["
OBJECT: Final = b"{"
_NULL: Final = b"n"  # which is absent
_NAMES: Final = {
    TEXT: "a string",
    NUMBER: "a number",
    FLAG: "a boolean",
    LIST: "an array",
    OBJECT: "an object",
}

CHAT_KINDS: Final = {
    "audio": OBJECT,
    "frequency_penalty": NUMBER,
    "function_call": TEXT + OBJECT,
    "functions": LIST,
    "logit_bias": OBJECT,
    "logprobs": FLAG,
    "metadata": OBJECT,
    "modalities": LIST,
    "moderation": OBJECT,
    "parallel_tool_calls": FLAG,
    "prediction": OBJECT,
    "presence_penalty": NUMBER,
    "prompt_cache_key": TEXT,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": TEXT,
    "reasoning_effort": TEXT,
    "response_format": OBJECT,
    "safety_identifier": TEXT,
    "seed": NUMBER,
    "service_tier": TEXT,
    "stop": TEXT + LIST,
    "store": FLAG,
    "temperature": NUMBER,
    "tool_choice": TEXT + OBJECT,
    "tools": LIST,
    "top_logprobs": NUMBER,
    "top_p": NUMBER,
    "user": TEXT,
    "verbosity": TEXT,
    "web_search_options": OBJECT,
}
COMPLETION_KINDS: Final = {
    "echo": FLAG,
    "frequency_penalty": NUMBER,
    "logit_bias": OBJECT,
    "logprobs": NUMBER,
    "presence_penalty": NUMBER,
    "prompt": TEXT + LIST,
    "seed": NUMBER,
    "stop": TEXT + LIST,
    "suffix": TEXT,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "user": TEXT,
}


def misfit(fields: Fields, kinds: Mapping[str, bytes]) -> tuple[str, str] | None:
    """The first field whose value is of a kind that it does not take, and what it takes instead; None if all fit."""
    if kinds.keys().isdisjoint(fields):
        return None
    for name, value in fields.items():
        wanted = kinds.get(name)
        if wanted is not None:
            begins = bytes(memoryview(value)[:1])
            if begins not in wanted and begins != _NULL:
                return name, " or ".join(told for kind, told in _NAMES.items() if kind in wanted)
    return None
