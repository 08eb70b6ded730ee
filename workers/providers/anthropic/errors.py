"""Owns what Anthropic's errors mean, by status and inside a stream: for the caller, the account and the next try."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    invalid,
    model_not_found,
    overloaded,
    saturated,
    unavailable,
    upstream_failed,
    upstream_timeout,
)
from schemas.json import UNREADABLE
from workers.providers.base import About, Action, Fault
from workers.providers.faults import (
    DEAD_KEY,
    NO_PERMISSION,
    TOO_LARGE,
    UNKNOWN_REFUSAL,
    amid,
    limited,
    oversized,
    refusal,
    retry_after_s,
    unverified,
)
from workers.providers.scrub import scrub

COOL_UNTOLD_S: Final = 30.0  # after a 429 that names no time: a limit of spend or of growth, not of a minute
SPENT_RETRY_S: Final = 30.0

# What an error's type says when there is no status: an error event in a stream that began with 200.
STATUS_BY_TYPE: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SPENT_CODES: Final = frozenset(
    ("enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded")
)
_SPENT_WORDS: Final = re.compile(
    r"credit balance is too low|spend(?:ing)? limit|API usage limits", re.IGNORECASE
)
_A_MINUTE: Final = re.compile(r"per minute", re.IGNORECASE)
_NOTHING: Final = re.compile(r"\s*(?:not found\.?)?\s*", re.IGNORECASE)
PERMISSION: Final = "permission_error"
NOT_FOUND: Final = "not_found_error"
_TOO_LONG: Final = re.compile(
    r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:model's )?(?:maximum )?context", re.IGNORECASE
)


class _Error(Struct):
    type: str = ""
    message: str = ""
    details: Any = None


class _Body(Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Body).decode
_convert = msgspec.convert


def fault_of_body(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """What a non-2xx answer means, whatever its body is: a 413 comes from a proxy before the API."""
    try:
        error = _decode(body).error
    except UNREADABLE:
        error = _Error()
    return _fault(status, error, retry_after_s(headers))


def fault_of_event(error: Any, *, unbilled: bool) -> Fault:
    """What an error inside a 2xx answer means. `unbilled` says that the model had not begun."""
    try:
        known = _convert(error, _Error)
    except msgspec.ValidationError:
        known = _Error()
    found = amid(_fault(STATUS_BY_TYPE.get(known.type, 500), known, None))
    return msgspec.structs.replace(found, unbilled=unbilled)


def _fault(status: int, error: _Error, wait_s: float | None) -> Fault:
    match status:
        case 400 | 422:
            return _refused(error)
        case 401 | 403:
            return _no_entry(status, error)
        case 402:
            return _spent()
        case 404:
            return _not_found(error)
        case 408 | 504 | 524:
            return Fault(upstream_timeout(), Action.NEXT)
        case 409:
            return Fault(
                unavailable("The upstream provider met a conflict. Retry with backoff."), Action.STOP
            )
        case 413:
            return TOO_LARGE
        case 429:
            return _limited(error, wait_s)
        case 503 | 529:
            return Fault(overloaded(), Action.NEXT if wait_s is None else Action.COOL, wait_s)
        case _:
            return Fault(upstream_failed(), Action.NEXT)


def _no_entry(status: int, error: _Error) -> Fault:
    if status == 401:
        return DEAD_KEY
    return refusal(error.message, NO_PERMISSION if error.type == PERMISSION else UNKNOWN_REFUSAL)


def _refused(error: _Error) -> Fault:
    if _SPENT_WORDS.search(error.message):
        return _spent()
    message = scrub(error.message) or "The upstream provider refused the request."
    if _TOO_LONG.search(error.message):
        return Fault(invalid(message, param="messages", code="context_length_exceeded"), Action.STOP)
    return Fault(invalid(message), Action.STOP, thoughts_refused=unverified(error.message))


def _spent() -> Fault:
    message = "The pool has no upstream credit left for this model. Retry later."
    error = unavailable(message, code="upstream_quota", retry_after_s=SPENT_RETRY_S)
    return Fault(msgspec.structs.replace(error, should_retry=False), Action.SPENT)


def _not_found(error: _Error) -> Fault:
    # A wrong base_url is a 404 too: its words name nothing that was looked for.
    if error.type != NOT_FOUND or _NOTHING.fullmatch(error.message):
        return Fault(upstream_failed(), Action.NEXT)
    if "model" in error.message.lower():
        return Fault(model_not_found("the model"), Action.GONE)
    told = WireError(404, INVALID_REQUEST, scrub(error.message), None)
    return Fault(told, Action.STOP)


def _limited(error: _Error, wait_s: float | None) -> Fault:
    code = error.details.get("error_code") if isinstance(error.details, dict) else None
    if code in _SPENT_CODES or _SPENT_WORDS.search(error.message):
        return _spent()
    if (too_large := oversized(error.message)) is not None:
        return too_large
    # Its limits of a minute are each model's own, though the words speak of the organisation.
    about = About.MODEL if _A_MINUTE.search(error.message) else limited(error.message)
    message = "The upstream provider's rate limit was reached. Retry with backoff."
    if wait_s is None:
        told = saturated(message, retry_after_s=COOL_UNTOLD_S)
        told = msgspec.structs.replace(told, should_retry=False)
        return Fault(told, Action.COOL, COOL_UNTOLD_S, about=about)
    return Fault(saturated(message, retry_after_s=max(wait_s, 0.1)), Action.COOL, wait_s, about=about)
