"""Owns the errors of the admin API: OpenAI's envelope, with a word for programs and a sentence for people."""

from typing import Any

import msgspec
from msgspec import Struct

from schemas.admin.reasons import STATUS, Reason, reason_of, sentence_of
from schemas.verbs.base import Rows

INVALID_REQUEST = "invalid_request_error"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "requests",
    503: "service_unavailable_error",
    500: "server_error",
}


class Error(Struct, frozen=True):
    """What was wrong. `param` is a path into the body, as `caps[0].limit_nano`, or a parameter's name."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """The body of every error. After `version_conflict`, `current` is the object as it is now."""

    error: Error
    current: dict[str, Any] | None = None


class ApiError(Exception):
    """A request that is refused."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        current: dict[str, Any] | None = None,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.allow = allow
        kind = _TYPES.get(status, INVALID_REQUEST)
        self._body = ErrorBody(Error(message, kind, param, code), current)

    @property
    def body(self) -> bytes:
        """The envelope."""
        return msgspec.json.encode(self._body)


def invalid(message: str, param: str | None = None) -> ApiError:
    """A body or a parameter that cannot be."""
    return ApiError(400, None, message, param=param)


def refused(answer: Rows, what: str, current: dict[str, Any] | None = None) -> ApiError:
    """A ledger's refusal. What is missing, and what is another organisation's, is told in the same words."""
    reason = reason_of(answer) or Reason.INVALID_REQUEST
    if reason is Reason.RESOURCE_MISSING:
        return ApiError(404, reason.value, f"There is no such {what}.")
    message = sentence_of(answer)
    message = f"{message[:1].upper()}{message[1:]}."
    if reason is Reason.INVALID_REQUEST:
        param = "starting_after" if message.startswith("Starting_after") else None
        return ApiError(400, None, message, param=param)
    return ApiError(STATUS[reason], reason.value, message, current=current)
