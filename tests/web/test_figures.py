"""Owns how figures are written: exact money, and words for what nobody knows."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web import figures

AMOUNTS = st.integers(-(2**63), 2**63 - 1)


@given(AMOUNTS)
def test_dollars_have_every_digit(amount_nano):
    """What is written reads back as the same nano-dollars, with cents at least."""
    text = figures.usd(amount_nano)
    assert Decimal(text.replace("$", "").replace(",", "")).scaleb(9) == amount_nano
    assert len(text.partition(".")[2]) >= 2


@given(AMOUNTS)
def test_rounded_dollars_are_near(amount_nano):
    """A tile is at most half of its last digit away, and never says nothing of something."""
    text = figures.usd_about(amount_nano)
    if "<" in text:
        assert 0 < abs(amount_nano) <= 50_000
        return
    shown = int(Decimal(text.replace("$", "").replace(",", "")).scaleb(9))
    assert abs(shown - amount_nano) <= (5_000_000 if abs(amount_nano) >= 10**9 else 50_000)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (figures.usd(1_234_500_000_000), "$1,234.50"),
        (figures.usd(-12_500), "-$0.0000125"),
        (figures.usd(0), "$0.00"),
        (figures.usd(None), figures.NOTHING),
        (figures.usd_about(999_960_000), "$1.0000"),
        (figures.usd_about(1_005_000_000), "$1.00"),
        (figures.usd_about(1_015_000_000), "$1.02"),
        (figures.usd_about(-1), "-<$0.0001"),
        (figures.count(1_234_567), "1,234,567"),
        (figures.share(999_999, 1_000_000), "99.9 %"),
        (figures.share(0, 0), figures.NOTHING),
        (figures.milliseconds(999), "999 ms"),
        (figures.milliseconds(1_249), "1.24 s"),
        (figures.milliseconds(125_900), "2 min 05 s"),
        (figures.seconds(11_130), "3 h 5 min"),
        (figures.seconds(-61), "-1 min 1 s"),
        (figures.seconds(0), "0 s"),
        (figures.byte_count(1_023), "1023 B"),
        (figures.byte_count(1_536), "1.5 KiB"),
        (figures.byte_count(12 << 20), "12.0 MiB"),
        (figures.day(1_764_190_000), "2025-11-26"),
    ],
)
def test_figures_read_as_people_write_them(written, text):
    """Rounding goes to the even cent, percent and lengths are cut, and a dash is what nobody knows."""
    assert written == text


def test_a_moment_is_read_by_people_and_machines():
    """In the zone that is asked for, with the moment in UTC beside it."""
    told = figures.moment(1_764_190_000, "Europe/Berlin")
    assert told == '<time datetime="2025-11-26T20:46:40Z">2025-11-26 21:46:40 CET</time>'
    assert figures.moment(None) == figures.NOTHING
