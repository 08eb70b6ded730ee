"""Owns what the errors of an OpenAI-compatible upstream mean: for the caller, for the account, for the next try."""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    model_not_found,
    overloaded,
    saturated,
    upstream_auth,
    upstream_failed,
    upstream_timeout,
)
from schemas.json import UNREADABLE
from workers.providers.base import Action, Fault
from workers.providers.faults import retry_after_s
from workers.providers.scrub import scrub

COOL_DEFAULT_S = 1.0  # after a 429 that names no time

_SPENT_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
_GONE_CODES = frozenset({"model_not_found", "model_deprecated"})
# What an error object says when there is no status: an error event in a stream that began with 200.
_STATUS_BY_WORD = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "slow_down": 429,
    "requests": 429,
    "tokens": 429,
    "server_is_overloaded": 503,
    "service_unavailable_error": 503,
    "overloaded_error": 503,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    **dict.fromkeys(_SPENT_CODES, 429),
    **dict.fromkeys(_GONE_CODES, 404),
}

_decode = msgspec.json.decode


def fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """What a non-2xx answer means."""
    try:
        decoded: Any = _decode(body)
    except UNREADABLE:
        decoded = None
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else None
    return _fault(status, error, retry_after_s(headers))


def event_fault(error: Any) -> Fault:
    """What an error object inside a 2xx answer means; its words stand in for the status that it has not got."""
    status = 502
    if isinstance(error, dict):
        code = error.get("code")
        if isinstance(code, int) and 400 <= code <= 599:
            status = code
        else:
            status = _STATUS_BY_WORD.get(str(code)) or _STATUS_BY_WORD.get(str(error.get("type")), 502)
    return _fault(status, error, None)


def _fault(status: int, error: Any, wait_s: float | None) -> Fault:
    fields = error if isinstance(error, dict) else {}
    code = fields.get("code")
    kind = fields.get("type")
    if code in _SPENT_CODES or kind in _SPENT_CODES or status == 402:
        return Fault(
            saturated("The pool has no upstream credit left. Retry later.", retry_after_s=30.0), Action.SPENT
        )
    if status in (401, 403):
        return Fault(upstream_auth(), Action.REFUSED)
    if status == 404:
        return _not_found(code, fields)
    if status == 429:
        cool_s = COOL_DEFAULT_S if wait_s is None else wait_s
        message = "The upstream provider's rate limit was reached. Retry with backoff."
        return Fault(saturated(message, retry_after_s=max(cool_s, 0.1)), Action.COOL, cool_s)
    if status in (400, 413, 415, 422):
        return Fault(_caller_error(status, fields), Action.STOP)
    if status in (408, 504, 524):
        return Fault(upstream_timeout(), Action.NEXT)
    if status in (503, 529):
        return Fault(overloaded(), Action.NEXT if wait_s is None else Action.COOL, wait_s)
    return Fault(upstream_failed(), Action.NEXT)


def _not_found(code: Any, fields: dict[str, Any]) -> Fault:
    # A wrong base_url is a 404 too, but says nothing of models: that is our fault, not the caller's.
    message = str(fields.get("message", ""))
    if code in _GONE_CODES or (fields.get("param") == "model") or "model" in message.lower():
        return Fault(model_not_found("the model"), Action.GONE)
    return Fault(upstream_failed(), Action.NEXT)


def _caller_error(status: int, fields: dict[str, Any]) -> WireError:
    message = fields.get("message")
    code = fields.get("code")
    param = fields.get("param")
    if not isinstance(message, str) or not message:
        message = "The upstream provider refused the request."
    return WireError(
        413 if status == 413 else 400,
        INVALID_REQUEST,
        scrub(message),
        scrub(str(code)) if code is not None else None,
        scrub(param) if isinstance(param, str) else None,
        should_retry=False if status == 413 else None,
    )
