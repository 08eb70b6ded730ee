"""Owns in which media type an answer is wanted, by the header `Accept`: the most wanted one of those that a route has."""

from typing import Final

from console.api.base import Route

JSON: Final = "application/json"
HTML: Final = "text/html"
CSV: Final = "text/csv"
_TYPES_MAX: Final = 32  # of a header that are looked at


def wanted(accept: str, route: Route) -> str:
    """The type to answer in; the route's first one where the header names none of them, or all alike."""
    has: tuple[str, ...] = (*((JSON,) if route.answer is not None else ()), *route.kinds)
    if len(has) == 1:
        return has[0]
    told = [_read(part) for part in accept.split(",")[:_TYPES_MAX]]
    # Of two that are wanted alike the one that is named first; what a route does not have is as if it were not there.
    named = [
        (weight, -place, kind) for place, (kind, weight) in enumerate(told) if kind in has and weight > 0
    ]
    return max(named)[2] if named else has[0]


def _read(part: str) -> tuple[str, float]:
    """A type and how much it is wanted."""
    kind, *more = (one.strip().lower() for one in part.split(";"))
    for one in more:
        if one.startswith("q="):
            try:
                return kind, float(one[2:])
            except ValueError:
                return kind, 0.0
    return kind, 1.0
