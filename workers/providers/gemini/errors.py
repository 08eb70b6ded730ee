"""Owns what Gemini's errors mean: to the caller, to the account, and to the call."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    invalid,
    overloaded,
    saturated,
    unavailable,
    upstream_failed,
    upstream_timeout,
)
from schemas.json import UNREADABLE
from workers.providers.base import About, Action, Fault
from workers.providers.faults import (
    COOL_MAX_S,
    DEAD_KEY,
    NO_PERMISSION,
    UNKNOWN_REFUSAL,
    UNKNOWN_REFUSAL_S,
    amid,
    limited,
    oversized,
    refusal,
)
from workers.providers.scrub import scrub

DAY_QUOTA_COOL_S: Final = 3600.0  # a quota per day comes back at midnight in California: look again each hour
PRECONDITION_COOL_S: Final = 600.0  # region or billing of an account: it takes a person to change it

_BAD_KEY: Final = re.compile(
    r"API[ _]KEY[ _](INVALID|EXPIRED|NOT[ _](VALID|FOUND)|SERVICE_BLOCKED)", re.IGNORECASE
)
_DEAD_REASONS: Final = frozenset(
    {
        "ACCESS_TOKEN_EXPIRED",
        "ACCOUNT_STATE_INVALID",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "BILLING_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "SERVICE_DISABLED",
    }
)
_SIGNATURE: Final = re.compile(r"thought[ _]?signature", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"token count.*exceeds the maximum|exceeds the maximum number of tokens", re.IGNORECASE
)
_NOT_SERVED: Final = re.compile(r"\b(?:location|region|country|billing|free tier|plan)\b", re.IGNORECASE)
_NOT_A_MODEL: Final = re.compile(r"\b(?:file|cached ?content|corpus|operation)s?\b", re.IGNORECASE)
_PER_MODEL: Final = re.compile(r"per[ _]?model", re.IGNORECASE)
_PER_DAY: Final = re.compile(r"per[ _]?day", re.IGNORECASE)
_SECONDS: Final = re.compile(r"(\d{1,9}(?:\.\d{1,18})?)s")


class _Error(Struct):
    code: int = 0
    message: str = ""
    status: str = ""
    details: list[dict[str, Any]] | None = None


class _Body(Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Body | list[_Body], strict=False).decode


def fault_of_body(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """What a non-2xx answer means, whatever its body is."""
    try:
        decoded = _decode(body)
    except UNREADABLE:
        return _fault(status, _Error(), _header_delay_s(headers))
    bodies = decoded if isinstance(decoded, list) else [decoded]
    return _fault(status, bodies[0].error if bodies else _Error(), _header_delay_s(headers))


def fault_of_event(error: Any) -> Fault:
    """What an `error` object in a 2xx answer or stream means."""
    try:
        known = msgspec.convert(error, _Error, strict=False)
    except msgspec.ValidationError:
        known = _Error()
    return amid(_fault(known.code or 502, known, None))


def _fault(status: int, error: _Error, header_delay_s: float | None) -> Fault:
    if status == 401 or _names_bad_key(error):
        return DEAD_KEY
    delay_s = _delay_s(error) or header_delay_s
    make = _BY_STATUS.get(status)
    if make is not None:
        return make(error, delay_s)
    retry_after_s = delay_s if delay_s is not None else 1.0
    return Fault(upstream_failed(retry_after_s=retry_after_s), Action.NEXT)


def _names_bad_key(error: _Error) -> bool:
    # Only where a message begins: further on it may tell the caller's own words back.
    reasons = [str(detail.get("reason", "")) for detail in error.details or ()]
    return any(_BAD_KEY.match(text) for text in (error.message, *reasons)) or not _DEAD_REASONS.isdisjoint(
        reasons
    )


def _forbidden(error: _Error, delay_s: float | None) -> Fault:
    del delay_s
    return refusal(error.message, NO_PERMISSION if error.status == "PERMISSION_DENIED" else UNKNOWN_REFUSAL)


def _bad_request(error: _Error, delay_s: float | None) -> Fault:
    if error.status == "FAILED_PRECONDITION":
        told = unavailable("The upstream provider does not serve this account now.", code="upstream_quota")
        if _NOT_SERVED.search(error.message):
            return Fault(told, Action.COOL, delay_s or PRECONDITION_COOL_S, about=About.ACCOUNT)
        return Fault(told, Action.COOL, delay_s or UNKNOWN_REFUSAL_S)  # perhaps of what this request asks
    message = scrub(error.message) or "The upstream provider refused the request as invalid."
    code = "context_length_exceeded" if _TOO_LONG.search(error.message) else None
    told = invalid(message, code=code, param="messages" if code else None)
    return Fault(told, Action.STOP, thoughts_refused=_SIGNATURE.search(error.message) is not None)


def _no_credit(error: _Error, delay_s: float | None) -> Fault:
    del error, delay_s
    return Fault(unavailable("The upstream account has no credit left.", code="upstream_quota"), Action.SPENT)


def _not_found(error: _Error, delay_s: float | None) -> Fault:
    del delay_s
    if error.status != "NOT_FOUND":
        return Fault(upstream_failed(), Action.NEXT)  # a path that is not the API's says nothing of the model
    if _NOT_A_MODEL.search(error.message) and "models/" not in error.message:
        return Fault(WireError(404, INVALID_REQUEST, scrub(error.message)), Action.STOP)
    message = (
        "The provider does not have this model any more. GET /v1/models lists the models that can be used."
    )
    return Fault(WireError(404, INVALID_REQUEST, message, "model_not_found", "model"), Action.GONE)


def _too_large(error: _Error, delay_s: float | None) -> Fault:
    del error, delay_s
    message = "The request is larger than the upstream provider accepts."
    return Fault(
        WireError(413, INVALID_REQUEST, message, "request_too_large", should_retry=False), Action.STOP
    )


def _exhausted(error: _Error, delay_s: float | None) -> Fault:
    if (too_large := oversized(error.message)) is not None:
        return too_large
    quotas = _quotas(error)
    about = limited(error.message)
    if quotas:  # one quota that is of all models is the account's
        about = About.MODEL if all(_PER_MODEL.search(name) for name in quotas) else About.ACCOUNT
    if any(_PER_DAY.search(name) for name in quotas):
        spent = WireError(
            429,
            "rate_limit_error",
            "The upstream provider's quota for today is used up.",
            "rate_limit_exceeded",
            should_retry=False,
        )
        return Fault(spent, Action.SPENT, DAY_QUOTA_COOL_S, about=about)
    retry_after_s = math.ceil(delay_s) if delay_s else 1.0
    told = saturated("The upstream provider's rate limit was reached.", retry_after_s=retry_after_s)
    return Fault(told, Action.COOL, delay_s, about=about)


def _quotas(error: _Error) -> list[str]:
    names: list[str] = []
    for detail in error.details or ():
        violations = detail.get("violations")
        if isinstance(violations, list):
            names += [
                f"{violation.get('quotaId', '')} {violation.get('quotaMetric', '')}"
                for violation in violations
                if isinstance(violation, dict)
            ]
    return names


def _overloaded(error: _Error, delay_s: float | None) -> Fault:
    del error
    told = overloaded()
    if delay_s:
        told = msgspec.structs.replace(told, retry_after_s=float(math.ceil(delay_s)))
    return Fault(told, Action.NEXT, delay_s)


def _timeout(error: _Error, delay_s: float | None) -> Fault:
    del error, delay_s
    return Fault(upstream_timeout(), Action.NEXT)


_BY_STATUS: Final[dict[int, Callable[[_Error, float | None], Fault]]] = {
    400: _bad_request,
    402: _no_credit,
    403: _forbidden,
    404: _not_found,
    408: _timeout,
    413: _too_large,
    429: _exhausted,
    503: _overloaded,
    504: _timeout,
}


def _delay_s(error: _Error) -> float | None:
    """Seconds of a RetryInfo, at most COOL_MAX_S: a decimal number with an `s`, fractions included."""
    for detail in error.details or ():
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (found := _SECONDS.fullmatch(delay)):
            return min(float(found[1]), COOL_MAX_S)
    return None


def _header_delay_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after") or headers.get("Retry-After") or ""
    found = _SECONDS.fullmatch(f"{text.strip()}s")
    return min(float(found[1]), COOL_MAX_S) if found else None
