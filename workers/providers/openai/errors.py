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
from workers.providers.openai.places import error_of
from workers.providers.openai.statuses import GONE_CODES as _GONE_CODES
from workers.providers.openai.statuses import SPENT_CODES as _SPENT_CODES
from workers.providers.openai.statuses import plainly, status_of
from workers.providers.scrub import scrub

COOL_DEFAULT_S = 1.0  # after a 429 that names no time

_decode = msgspec.json.decode


def fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """What a non-2xx answer means."""
    try:
        decoded: Any = _decode(body)
    except UNREADABLE:
        decoded = None
    return _fault(status, error_of(decoded), retry_after_s(headers))


def event_fault(error: Any) -> Fault:
    """What an error object inside a 2xx answer means; its words stand in for the status that it has not got."""
    told = plainly(error) if isinstance(error, dict) else None
    return _fault(status_of(told), told, None)


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
