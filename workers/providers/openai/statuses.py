"""Owns the status that an error object stands for when it has no HTTP status of its own, whatever words it is written in."""

import re
from collections.abc import Mapping
from typing import Any, Final

SPENT_CODES: Final = frozenset(
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
GONE_CODES: Final = frozenset({"model_not_found", "model_deprecated", "model_decommissioned"})
UNTOLD: Final = 502

# Words as `_word` spells them: "RATE_LIMIT_EXCEEDED", "RateLimitExceeded" and "rate-limit-exceeded" are one row.
_STATUS_BY_WORD: Final = {
    # OpenAI's own
    "rate_limit_exceeded": 429,
    "rate_limit": 429,
    "slow_down": 429,
    "requests": 429,
    "tokens": 429,
    "server_is_overloaded": 503,
    "service_unavailable": 503,
    "overloaded": 503,
    "invalid_request": 400,
    "context_length_exceeded": 400,
    "authentication": 401,
    "invalid_api_key": 401,
    # Python servers name their exceptions: vLLM, SGLang, LiteLLM
    "bad_request": 400,
    "validation": 400,
    "value": 400,
    "unprocessable_entity": 422,
    "not_found": 404,
    "permission_denied": 403,
    "request_too_large": 413,
    "timeout": 504,
    "internal_server": 500,
    "server": 500,
    "api": 500,
    # Google's, as its compatible endpoints write them
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    # DashScope's and AWS's
    "invalid_parameter": 400,
    "data_inspection_failed": 400,
    "throttling": 429,
    "throttling_rate_quota": 429,
    "throttling_allocation_quota": 429,
    "too_many_requests": 429,
    "arrearage": 402,
    "payment_required": 402,
    # Z.ai writes numbers as text
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), 401),
    "1113": 402,
    "1211": 404,
    **dict.fromkeys(("1210", "1212", "1213", "1214", "1215", "1261", "1301"), 400),
    **dict.fromkeys(("1302", "1303", "1304", "1305", "1308"), 429),
    **dict.fromkeys(SPENT_CODES, 429),
    **dict.fromkeys(GONE_CODES, 404),
}
# MiniMax answers 200 with `base_resp.status_code`.
_STATUS_BY_BASE_RESP: Final = {
    1001: 504,
    1002: 429,
    1039: 429,
    1041: 429,
    2045: 429,
    2056: 429,
    1004: 401,
    2049: 401,
    1008: 402,
    1026: 400,
    1027: 400,
    1042: 400,
    2013: 400,
}
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")
_TAIL: Final = re.compile(r"_(?:error|exception)$")
_WORD_CHARS_MAX: Final = 64
_CODES: Final = SPENT_CODES | GONE_CODES


def status_of(error: Any) -> int:
    """The status that an error object stands for: its own number, else its words; UNTOLD if it says neither."""
    if not isinstance(error, dict):
        return UNTOLD
    for name in ("status_code", "status", "code"):
        if (number := _number(error.get(name))) is not None and 400 <= number <= 599:
            return number
    for name in ("code", "type", "status"):
        if (found := _STATUS_BY_WORD.get(_word(error.get(name)))) is not None:
            return found
    return UNTOLD


def status_of_base_resp(code: int) -> int:
    """The status that a `base_resp.status_code` other than 0 stands for."""
    return _STATUS_BY_BASE_RESP.get(code, UNTOLD)


def plainly(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error whose code and type are texts, numbers or none, and OpenAI's own words where they are those in other letters."""
    told = dict(error)
    for name in ("code", "type"):
        value = told.get(name)
        if (word := _word(value)) in _CODES:
            told[name] = word
        elif not isinstance(value, str | int | float):
            told[name] = None
    return told


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _word(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:_WORD_CHARS_MAX]
    if not isinstance(value, str):
        return ""
    text = _HUMP.sub("_", value[:_WORD_CHARS_MAX]).lower()
    return _TAIL.sub("", _NOT_A_WORD.sub("_", text).strip("_"))
