"""Owns Anthropic's envelope of errors: its types by status, and the words by which its clients know some of them."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import structs

from schemas.errors import CONTEXT_TOO_LONG, WireError

OVERLOADED: Final = 529
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    431: "invalid_request_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
_API: Final = "api_error"
_TOO_LONG: Final = "prompt is too long"  # clients compact their conversation when they read this

# What a chat request's refusal calls the caller's fields.
_NAMES: Final = {
    "max_completion_tokens": "max_tokens",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "thinking",
    "response_format": "output_config.format",
    "response_format.type": "output_config.format.type",
    "response_format.json_schema.schema": "output_config.format.schema",
    "stop": "stop_sequences",
}
_MESSAGE: Final = re.compile(r"messages\[(\d+)\](?:\.[a-z_]+|\[\d+\])*")
_TOOL: Final = re.compile(r"tools\[(\d+)\](?:\.function)?")

_encode = msgspec.json.Encoder().encode


def status_of(error: WireError) -> int:
    """The status by which Anthropic's clients know an error."""
    return OVERLOADED if error.code == "server_is_overloaded" else error.status


def fields_of(error: WireError) -> dict[str, str]:
    """The inner object of the envelope."""
    message = error.message
    if error.code == CONTEXT_TOO_LONG and _TOO_LONG not in message:
        message = f"{_TOO_LONG}: {message}"
    elif error.status == 400 and error.param and error.param not in message:
        message = f"{error.param}: {message}"  # the envelope has no other place for it
    return {"type": _TYPES.get(status_of(error), _API), "message": message}


def body_of(error: WireError, request_id: str) -> bytes:
    """The envelope, which names the request where it has one."""
    envelope = {"type": "error", "error": fields_of(error)}
    return _encode(envelope | ({"request_id": request_id} if request_id else {}))


def in_callers_words(error: WireError, origins: Sequence[str]) -> WireError:
    """A refusal of the chat request that a body became, with the names and places of the body itself."""

    def told(text: str) -> str:
        def origin(found: re.Match[str]) -> str:
            place = int(found[1])
            return origins[place] if place < len(origins) else "messages"

        return _TOOL.sub(r"tools.\1", _MESSAGE.sub(origin, text))

    message = told(error.message)
    for name, own in _NAMES.items():
        message = message.replace(f"'{name}'", f"'{own}'")
    param = error.param or ""
    return structs.replace(error, message=message, param=told(_NAMES.get(param, param)) or None)
