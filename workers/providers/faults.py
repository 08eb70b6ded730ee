"""Owns the faults and the waits that every family knows: answers that are none, and what `Retry-After` says."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from schemas.errors import INVALID_REQUEST, WireError, upstream_failed
from workers.providers.base import Action, Fault

COOL_MAX_S: Final = 300.0  # no upstream makes us wait longer

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
