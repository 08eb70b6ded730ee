"""Periods of caps: the calendar of any zone cut into pieces that meet, on days of any length."""

import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.limits import periods
from ledger.rules.limits.periods import DAY, MONTH, PERIODS, TOTAL, WEEK, Span, span
from tests.ledger.rules.capped import ms

HOUR_MS = 3_600_000
ZONES = sorted(available_timezones())


@pytest.mark.parametrize(
    ("zone", "at", "start", "hours"),
    [
        ("UTC", "2026-11-26T17:00", "2026-11-26T00:00", 24),
        ("Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", 23),  # spring forward
        ("Europe/Berlin", "2026-10-25T00:30", "2026-10-24T22:00", 25),  # fall back
        ("America/New_York", "2026-03-08T20:00", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01T05:30", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-10-03T20:00", "2026-10-03T13:30", 23.5),  # by half an hour
        ("Asia/Kathmandu", "2026-01-01T00:00", "2025-12-31T18:15", 24),
        ("Asia/Beirut", "2026-03-29T09:00", "2026-03-28T22:00", 23),  # no midnight: the day begins at 1:00
        ("Africa/Cairo", "2026-04-24T09:00", "2026-04-23T22:00", 23),  # no midnight either
        ("America/Havana", "2026-03-08T12:00", "2026-03-08T05:00", 23),  # nor here
        ("America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", 25),  # midnight twice: the earlier
        ("America/Santiago", "2026-04-05T03:30", "2026-04-04T03:00", 25),  # 23:00 to 24:00 twice
        ("America/St_Johns", "2006-10-29T02:31", "2006-10-29T02:30", 25),  # 0:01 became 23:01 of the day before
        ("America/St_Johns", "2006-10-29T03:00", "2006-10-29T02:30", 25),  # which is shown twice, and has ended once
        ("America/Toronto", "1919-03-31T12:00", "1919-03-31T04:30", 23.5),  # clocks went from 23:30 to 0:30
        ("Pacific/Apia", "2011-12-31T00:00", "2011-12-30T10:00", 24),  # the 30th did not take place
        ("Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", 24),
    ],
)  # fmt: skip
def test_days(zone: str, at: str, start: str, hours: float) -> None:
    """A day begins at local midnight, or at the first instant after it, and has the hours that its clocks give it."""
    assert span(DAY, zone, ms(at)) == Span(ms(start), ms(start) + int(hours * HOUR_MS))


def test_weeks_months_and_all_time() -> None:
    """A week begins on Monday, a month on the 1st, both in their zone; all time never ends."""
    now = ms("2026-02-28T23:30")
    assert span(WEEK, "UTC", now) == Span(ms("2026-02-23T00:00"), ms("2026-03-02T00:00"))
    assert span(MONTH, "UTC", now) == Span(ms("2026-02-01T00:00"), ms("2026-03-01T00:00"))
    assert span(MONTH, "Europe/Berlin", now) == Span(ms("2026-02-28T23:00"), ms("2026-03-31T22:00"))
    assert span(TOTAL, "UTC", now) == Span(0, 0)


@given(
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(PERIODS[:3]),
    now_s=st.integers(ms("1990-01-01") // 1000, ms("2060-01-01") // 1000),
)
def test_periods_meet(zone: str, period: str, now_s: int) -> None:
    """In every zone each moment lies in one period, whose neighbours begin and end where it does, on the right local day."""
    one = span(period, zone, now_s * 1000)
    assert one.start_ms <= now_s * 1000 < one.end_ms
    assert span(period, zone, one.start_ms) == span(period, zone, one.end_ms - 1) == one
    assert span(period, zone, one.end_ms).start_ms == one.end_ms
    assert span(period, zone, one.start_ms - 1).end_ms == one.start_ms
    first = datetime.fromtimestamp(one.start_ms / 1000, ZoneInfo(zone))
    before = datetime.fromtimestamp(one.start_ms / 1000 - 1, ZoneInfo(zone))
    assert before.date() != first.date()


def test_zones_are_known_by_their_names() -> None:
    """A zone is one of IANA's names: no path, no abbreviation that a machine has of its own, nothing empty."""
    assert all(map(periods.is_zone, ("UTC", "Europe/Berlin", "America/Argentina/Ushuaia")))
    assert not any(map(periods.is_zone, ("", "Europe", "../UTC", "/etc/localtime", "Mars/Olympus", "a\x00b")))


def test_zones_need_no_machine_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no database of zones, as in a slim image, the package has it."""
    monkeypatch.setattr(periods, "_spans", {})
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()
    try:
        assert span(DAY, "Europe/Berlin", ms("2026-03-29T10:00")).start_ms == ms("2026-03-28T23:00")
        assert "Europe/Berlin" in available_timezones()
    finally:
        zoneinfo.reset_tzpath()
        ZoneInfo.clear_cache()
