"""Owns what statements say of who issues them, and by which time zone their months go: `[billing]`."""

import zoneinfo
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from runtime.toml import Table

TEXT_CHARS_MAX: Final = 2_000
UTC: Final = "UTC"
_HOUR_S: Final = 3_600
_MONTHS: Final = range(1, 13)
_YEAR: Final = 2026


class BillingSettings(Struct, frozen=True, kw_only=True):
    """Who issues statements: `address` and `footer` may have several lines. Months begin at midnight in `statement_timezone`."""

    name: str = ""
    address: str = ""
    tax_id: str = ""
    footer: str = ""
    statement_timezone: str = UTC


BILLING: Final = BillingSettings()


def read_billing(table: Table) -> BillingSettings:
    """The table of a file. Raises SettingsError."""
    texts = {name: table.text(name) for name in ("name", "address", "tax_id", "footer")}
    for name, text in texts.items():
        if len(text) > TEXT_CHARS_MAX or "\x00" in text:
            raise table.problem(name, f"has at most {TEXT_CHARS_MAX} characters")
    zone = table.text("statement_timezone", UTC)
    # Their names are looked up in six hundred files, which took most of the time of reading any settings.
    if zone != UTC and zone not in zoneinfo.available_timezones():
        raise table.problem("statement_timezone", "must be one of IANA's names, like Europe/Berlin")
    if not _has_whole_hours(ZoneInfo(zone)):
        # Usage is summed by hours of UTC: a month that begins within one could not be told from its neighbour.
        raise table.problem("statement_timezone", "must be whole hours from UTC")
    table.done()
    return BillingSettings(**texts, statement_timezone=zone)


def _has_whole_hours(zone: ZoneInfo) -> bool:
    offsets = [datetime(_YEAR, month, 1, tzinfo=zone).utcoffset() for month in _MONTHS]
    return all(one is not None and one.total_seconds() % _HOUR_S == 0 for one in offsets)
