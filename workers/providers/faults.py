"""Owns the faults and the waits that every family knows: answers that are none, refusals by their words, `Retry-After`."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import structs

from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    refused_input,
    request_too_large,
    upstream_auth,
    upstream_denied,
    upstream_failed,
)
from workers.providers.base import About, Action, Fault
from workers.providers.scrub import scrub

COOL_MAX_S: Final = 300.0  # no upstream makes us wait longer
UNKNOWN_REFUSAL_S: Final = 10.0  # a 403 that does not say what it is about

# How Claude's APIs say that reasoning of earlier turns is none that they gave.
_UNVERIFIED: Final = re.compile(
    r"invalid\W+(?:signature|data)\W+in\W+(?:redacted_)?thinking|thinking\W.*\W(?:signature|cannot be modified)",
    re.IGNORECASE | re.DOTALL,
)
# What a provider's words speak of. Each family reads its own codes first; words only decide where those do not.
_INPUT: Final = re.compile(
    r"\bflagged\b|\bmoderat(?:ed|ion)|content[ _-](?:polic|filter|management)|usage polic"
    r"|safety (?:system|polic|filter)|prohibited content",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    r"\b(?:access|permi(?:ssion|tted)|allowed|entitled|authori[sz]ed)\b.{0,120}?model"
    r"|\bmodels?\b.{0,120}?\b(?:access|permission|denied|not (?:be )?(?:allowed|available|enabled|permitted|supported))",
    re.IGNORECASE | re.DOTALL,
)
_CREDENTIAL: Final = re.compile(
    r"\b(?:api[ _-]?key|token|credentials?|account|organi[sz]ation|project|workspace|consumer|billing)\b.{0,60}?"
    r"\b(?:disabled|deactivated|suspended|revoked|expired|invalid|not valid|leaked|banned|terminated|closed)\b"
    r"|\b(?:invalid|incorrect|expired|revoked|disabled|unknown) (?:api[ _-]?key|credentials?|(?:access )?token)",
    re.IGNORECASE | re.DOTALL,
)
_OWNER: Final = r"(?:account|organi[sz]ation|project|team|workspace|subscription)"
_LIMIT: Final = r"(?:rate[ -]?limits?|quotas?|limits?|rpm|tpm|rpd|tpd|concurrency)"
_WHOLE_ACCOUNT: Final = re.compile(
    rf"\b{_OWNER}(?:'s|-wide|-level)?(?: \w+){{0,4}}? {_LIMIT}\b"
    rf"|\b{_LIMIT}(?: (?:was|is|has been))?(?: (?:reached|exceeded|hit))? (?:for|of|on) (?:your |the |this )?{_OWNER}\b",
    re.IGNORECASE,
)
_ONE_MODEL: Final = re.compile(
    rf"\bmodels?\b|\breached for (?!(?:your |the |this )?{_OWNER})\S+", re.IGNORECASE
)
_TOO_LARGE: Final = re.compile(
    r"\brequest (?:is |was )?too (?:large|big|long)\b|\btoo large for\b|exceeds? the maximum number of tokens",
    re.IGNORECASE,
)
_LIMIT_AND_REQUEST: Final = re.compile(
    r"\blimit:? ([\d,]{1,15})\b.*\brequested:? ([\d,]{1,15})", re.IGNORECASE | re.DOTALL
)
_WORDS_CHARS_MAX: Final = 4_000  # of a message: what it is about stands in its beginning

NONSENSE: Final = Fault(
    upstream_failed("The upstream provider sent an answer that cannot be read. Retry with backoff."),
    Action.NEXT,
    unbilled=False,
)
CUT: Final = Fault(
    upstream_failed("The upstream provider's answer ended before it was complete. Retry with backoff."),
    Action.NEXT,
    unbilled=False,
)
TOO_LARGE: Final = Fault(
    WireError(
        413,
        INVALID_REQUEST,
        "The request is larger than the upstream provider takes.",
        "request_too_large",
        should_retry=False,
    ),
    Action.STOP,
)


DEAD_KEY: Final = Fault(upstream_auth(), Action.REFUSED, sure=True)
# Words may be the caller's own, told back; so may a lack of permission be for what the request asks. Neither is sure.
NO_PERMISSION: Final = Fault(upstream_auth(), Action.REFUSED)
NO_ACCESS: Final = Fault(upstream_denied(), Action.DENIED)
UNKNOWN_REFUSAL: Final = Fault(upstream_auth(), Action.DENIED, UNKNOWN_REFUSAL_S)


def amid(fault: Fault) -> Fault:
    """The fault of an error inside a 2xx answer: it proves no credential of ours dead.

    The server took ours to answer at all, and what it tells may be of its own call to somebody else.
    """
    return structs.replace(fault, sure=False) if fault.sure else fault


def unverified(message: str) -> bool:
    """Whether an error says that a provider cannot verify earlier reasoning: the call may go well without any."""
    return _UNVERIFIED.search(message) is not None


def refusal(message: str, otherwise: Fault) -> Fault:
    """What a 403 means by its words: it is about an input, a model, or the account's own credential."""
    message = message[:_WORDS_CHARS_MAX]
    if _INPUT.search(message):
        return Fault(refused_input(scrub(message)), Action.STOP)
    if _MODEL.search(message):
        return NO_ACCESS
    if _CREDENTIAL.search(message):
        return NO_PERMISSION
    return otherwise


def limited(words: str) -> About:
    """Whose limit a 429 tells of: the model's at that account, unless its words name the whole account and no model."""
    words = words[:_WORDS_CHARS_MAX].replace("_", " ")
    return About.ACCOUNT if _WHOLE_ACCOUNT.search(words) and not _ONE_MODEL.search(words) else About.MODEL


def oversized(message: str) -> Fault | None:
    """The fault of a request that no wait makes small enough for its limit, if that is what a 429 says."""
    message = message[:_WORDS_CHARS_MAX]
    figures = _LIMIT_AND_REQUEST.search(message)
    beyond = figures is not None and _figure(figures[2]) > _figure(figures[1]) > 0
    if not beyond and not _TOO_LARGE.search(message):
        return None
    return Fault(request_too_large(scrub(message)), Action.STOP)


def _figure(text: str) -> int:
    return int(text.replace(",", "") or 0)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that an upstream asks us to wait, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    try:
        if text := headers.get("retry-after-ms"):
            wait = float(text) / 1000.0
        elif text := headers.get("retry-after"):
            wait = (
                float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
            )
        else:
            return None
    except (ValueError, TypeError):
        return None
    return min(max(wait, 0.0), COOL_MAX_S) if wait == wait else None  # noqa: PLR0124  NaN is not a time
