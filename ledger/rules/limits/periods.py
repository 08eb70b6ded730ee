"""Owns the periods of caps: when each begins and ends, by the calendar of a time zone."""

import zoneinfo
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

DAY: Final = "day"
WEEK: Final = "week"  # from Monday
MONTH: Final = "month"
TOTAL: Final = "total"  # never ends
PERIODS: Final = (DAY, WEEK, MONTH, TOTAL)
UTC: Final = "UTC"
_SPANS_MAX = 4_096  # remembered: more than there are zones and periods


class Span(Struct, frozen=True):
    """From one instant to just before another, in unix milliseconds; `end_ms` 0 is for never."""

    start_ms: int
    end_ms: int


_ALWAYS = Span(0, 0)
_spans: dict[tuple[str, str], Span] = {}  # the last of each kind and zone: nearly always the next one too


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def is_zone(name: str) -> bool:
    """Whether a name is a time zone's, as IANA has it."""
    return name in _zones()


def span(period: str, zone: str, now_ms: int) -> Span:
    """The period of a kind that a moment lies in. Raises ZoneInfoNotFoundError for a zone that is not known here."""
    if period == TOTAL:
        return _ALWAYS
    known = _spans.get((period, zone))
    if known is not None and known.start_ms <= now_ms < known.end_ms:
        return known
    if len(_spans) >= _SPANS_MAX:
        _spans.clear()
    found = _spans[period, zone] = _span(period, ZoneInfo(zone), now_ms)
    return found


def _span(period: str, zone: ZoneInfo, now_ms: int) -> Span:
    first, after = _days(period, _local(zone, now_ms // 1000).date())
    end_ms = _begin_s(zone, after) * 1000
    if now_ms >= end_ms:  # clocks were set back over midnight: the day that ended is shown once more
        first, after = _days(period, after)
        return Span(end_ms, _begin_s(zone, after) * 1000)
    return Span(_begin_s(zone, first) * 1000, end_ms)


def _days(period: str, day: date) -> tuple[date, date]:
    """The first day of the period that a day lies in, and that of the next."""
    if period == DAY:
        return day, day + timedelta(days=1)
    if period == WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _local(zone: ZoneInfo, second: int) -> datetime:
    return datetime.fromtimestamp(second, zone)


def _begin_s(zone: ZoneInfo, day: date) -> int:
    """A day's first second: its midnight, of two the earlier; if clocks skip it, the first that comes after."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    found = int(midnight.timestamp())
    if _local(zone, found).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return found
    # By the offset after the gap it would have been before the gap, by the one before it is after.
    before = int(midnight.replace(fold=1).timestamp())
    while found - before > 1:
        middle = (before + found) // 2
        if _local(zone, middle).date() < day:
            before = middle
        else:
            found = middle
    return found
