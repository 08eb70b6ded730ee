"""Owns Anthropic's envelope of errors: its types by status, and the words by which its clients know some of them."""

from typing import Final

import msgspec

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

_encode = msgspec.json.Encoder().encode


def status_of(error: WireError) -> int:
    """The status by which Anthropic's clients know an error."""
    return OVERLOADED if error.code == "server_is_overloaded" else error.status


def fields_of(error: WireError) -> dict[str, str]:
    """The inner object of the envelope."""
    message = error.message
    if error.code == CONTEXT_TOO_LONG and _TOO_LONG not in message:
        message = f"{_TOO_LONG}: {message}"
    return {"type": _TYPES.get(status_of(error), _API), "message": message}


def body_of(error: WireError, request_id: str) -> bytes:
    """The envelope, which names the request where it has one."""
    envelope = {"type": "error", "error": fields_of(error)}
    return _encode(envelope | ({"request_id": request_id} if request_id else {}))
