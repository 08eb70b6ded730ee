"""Owns the months of statements: their names, and from when to when each goes in a time zone."""

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from ledger.rollups.sql import HOUR_MS
from ledger.rules.limits.periods import MONTH, Span, span

_NAME: Final = re.compile(r"(2\d{3})-(0[1-9]|1[0-2])", re.ASCII)
_ID: Final = re.compile(r"stm_(2\d{3})(0[1-9]|1[0-2])_(.+)", re.ASCII | re.DOTALL)
_HALF_MONTH_MS: Final = 15 * 24 * HOUR_MS


class Month(Struct, frozen=True):
    """One month: its `name` is yyyy-mm."""

    name: str
    timezone: str
    start_ms: int
    end_ms: int

    @property
    def is_whole_hours(self) -> bool:
        """Whether usage, which is summed by hours, can be told by it."""
        return not (self.start_ms % HOUR_MS or self.end_ms % HOUR_MS)

    def id_of(self, organization: str) -> str:
        """The id of an organisation's statement."""
        return f"stm_{self.name.replace('-', '')}_{organization}"


def named_by(id_: str) -> tuple[str, str] | None:
    """The organisation and the month's name that the id of a statement stands for; None for what is no such id."""
    found = _ID.fullmatch(id_)
    return None if found is None else (found[3], f"{found[1]}-{found[2]}")


def month_at(moment_ms: int, zone: str) -> Month:
    """The month that a moment lies in. Raises ZoneInfoNotFoundError."""
    return _month(span(MONTH, zone, moment_ms), zone)


def month_named(name: str, zone: str) -> Month | None:
    """A month by its name, yyyy-mm; None for what is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    middle = datetime(int(found[1]), int(found[2]), 15, tzinfo=ZoneInfo(zone))
    return month_at(int(middle.timestamp()) * 1000, zone)


def after(month: Month) -> Month:
    """The month that follows."""
    return month_at(month.end_ms + _HALF_MONTH_MS, month.timezone)


def _month(found: Span, zone: str) -> Month:
    middle = datetime.fromtimestamp((found.start_ms + _HALF_MONTH_MS) // 1000, ZoneInfo(zone))
    return Month(middle.strftime("%Y-%m"), zone, found.start_ms, found.end_ms)
