"""Owns what the errors of an OpenAI-compatible upstream mean: for the caller, for the account, for the next try."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, structs

from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    model_not_found,
    overloaded,
    refused_input,
    request_too_large,
    saturated,
    upstream_failed,
    upstream_timeout,
)
from schemas.json import UNREADABLE
from workers.providers.base import Action, Fault
from workers.providers.faults import (
    DEAD_KEY,
    NO_ACCESS,
    NO_PERMISSION,
    UNKNOWN_REFUSAL,
    amid,
    limited,
    oversized,
    refusal,
    retry_after_s,
)
from workers.providers.openai.places import error_of
from workers.providers.openai.statuses import GONE_CODES, SPENT_CODES, plainly, status_of
from workers.providers.scrub import scrub

COOL_DEFAULT_S = 1.0  # after a 429 that names no time

_NOT_FOUND_TYPES = frozenset({"not_found_error", "NotFoundError"})  # with a word about the model
_MODEL_CODES = GONE_CODES | {
    "model_not_available",
    "model_not_allowed",
    "model_access_denied",
    "key_model_access_denied",
    "team_model_access_denied",
    "project_model_access_denied",
}
_NO_PUBLISHER_MODEL = re.compile(r"publisher model\b.*\bnot found\b", re.IGNORECASE)  # Vertex AI's
_NO_DEPLOYMENT = "DeploymentNotFound"  # Azure's: what it calls a model
_DEAD_CODES = frozenset(
    {
        "invalid_api_key",
        "incorrect_api_key",
        "authentication_error",
        "expired_api_key",
        "api_key_disabled",
        "account_deactivated",
        "account_suspended",
        "access_terminated",
        "organization_deactivated",
        "organization_disabled",
        "invalid_organization",
        "invalid_project",
        "ip_not_authorized",
        "unsupported_country_region_territory",
    }
)
_PERMISSION_CODES = frozenset(
    {"missing_scope", "insufficient_permissions", "permission_error", "permission_denied"}
)
_INPUT_CODES = frozenset(
    {"content_policy_violation", "content_filter", "moderation_blocked", "responsible_ai_policy_violation"}
)
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "tokens"})  # of a 413: more than a minute's tokens at once
_SPENT_WORDS = re.compile(  # of a 403
    r"\binsufficient (?:credits?|balance|funds)|\ball available credits|\bout of credits|\bkey limit exceeded"
    r"|\bspending limit",
    re.IGNORECASE,
)
_SPENT = Fault(
    saturated("The pool has no upstream credit left. Retry later.", retry_after_s=30.0), Action.SPENT
)
_LESS_WOULD_DO = re.compile(r"\bcan only afford\b|\bfewer max_tokens\b", re.IGNORECASE)
_TOO_DEAR = Fault(_SPENT.error, Action.SPENT, COOL_DEFAULT_S)  # for this request: a smaller one is served
_GONE = Fault(model_not_found("the model"), Action.GONE)
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
    return amid(_fault(status_of(told), told, None))


def fault_within(error: Raw | None, *, served: bool) -> Fault:
    """The same of an error as it was written. It is billed where the answer `served` something before."""
    found = event_fault(msgspec.json.decode(error) if error is not None else None)
    return structs.replace(found, unbilled=False) if served else found


def _fault(status: int, error: Any, wait_s: float | None) -> Fault:
    fields = _fields(error)
    code = fields.get("code")
    kind = fields.get("type")
    if code in SPENT_CODES or kind in SPENT_CODES or status == 402:
        return _TOO_DEAR if _LESS_WOULD_DO.search(_message(fields)) else _SPENT
    if status in (400, 404) and (code in GONE_CODES or code == _NO_DEPLOYMENT):
        return _GONE
    if status in (401, 403):
        return _refused(status, code, kind, fields)
    if status == 404:
        return _not_found(fields)
    if status == 429:
        return _limited(code, kind, fields, wait_s)
    if status in (400, 413, 415, 422):
        return Fault(_caller_error(status, fields), Action.STOP)
    if status in (408, 504, 524):
        return Fault(upstream_timeout(), Action.NEXT)
    if status in (503, 529):
        return Fault(overloaded(), Action.NEXT if wait_s is None else Action.COOL, wait_s)
    return Fault(upstream_failed(), Action.NEXT)


def _fields(error: Any) -> dict[str, Any]:
    """An error's fields, each a text where it is one or may stand for one; some servers say no more than a sentence."""
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    # What is no text cannot be looked up among codes: it may not even be hashable.
    return {
        name: value
        for name, value in error.items()
        if name not in ("code", "type") or isinstance(value, str | int)
    }


def _message(fields: dict[str, Any]) -> str:
    message = fields.get("message")
    return message if isinstance(message, str) else ""


def _refused(status: int, code: Any, kind: Any, fields: dict[str, Any]) -> Fault:
    words = {code, kind}
    metadata = fields.get("metadata")
    if words & _INPUT_CODES or (isinstance(metadata, dict) and "reasons" in metadata):
        return Fault(refused_input(scrub(_message(fields))), Action.STOP)
    if words & _MODEL_CODES or (status == 403 and fields.get("param") == "model"):
        return NO_ACCESS
    if _SPENT_WORDS.search(_message(fields)):
        return _SPENT
    permission = words & _PERMISSION_CODES
    if words & _DEAD_CODES or (status == 401 and not permission):
        return DEAD_KEY
    return refusal(_message(fields), NO_PERMISSION if permission else UNKNOWN_REFUSAL)


def _not_found(fields: dict[str, Any]) -> Fault:
    message = _message(fields)
    about_model = fields.get("param") == "model" or "model" in message.lower()
    if about_model and (fields.get("type") in _NOT_FOUND_TYPES or _NO_PUBLISHER_MODEL.search(message)):
        return _GONE
    if about_model:
        return Fault(_caller_error(404, fields), Action.STOP)
    # A wrong base_url is a 404 too, but says nothing of models: that is our fault, not the caller's.
    return Fault(upstream_failed(), Action.NEXT)


def _limited(code: Any, kind: Any, fields: dict[str, Any], wait_s: float | None) -> Fault:
    message = _message(fields)
    if (too_large := oversized(message)) is not None:
        return too_large
    cool_s = COOL_DEFAULT_S if wait_s is None else wait_s
    told = saturated(
        "The upstream provider's rate limit was reached. Retry with backoff.", retry_after_s=max(cool_s, 0.1)
    )
    return Fault(told, Action.COOL, cool_s, about=limited(f"{code} {kind} {message}"))


def _caller_error(status: int, fields: dict[str, Any]) -> WireError:
    message = fields.get("message")
    code = fields.get("code")
    param = fields.get("param")
    if not isinstance(message, str) or not message:
        message = "The upstream provider refused the request."
    if status == 413 and code in _LIMIT_CODES:
        return request_too_large(scrub(message))
    return WireError(
        status if status in (404, 413) else 400,
        INVALID_REQUEST,
        scrub(message),
        scrub(str(code)) if code is not None else None,
        scrub(param) if isinstance(param, str) else None,
        should_retry=False if status == 413 else None,
    )
