"""Retries: the table as it is promised, within its spread, and what a receiver may ask for."""

import pytest

from console.hooks.retries import ATTEMPTS_MAX, TABLE_S, Retries
from console.hooks.sending import retry_after_s

HOUR_S = 3_600


def test_the_table() -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, and then no more."""
    hours = [one * HOUR_S for one in (2, 5, 10, 14, 20, 24)]
    assert [5, 300, 1_800, *hours] == list(TABLE_S)
    assert ATTEMPTS_MAX == 10
    exact = Retries(spread=lambda low, high: (low + high) / 2)
    assert [exact.delay_s(attempt, 0) for attempt in range(1, 10)] == pytest.approx(list(TABLE_S))
    assert exact.delay_s(10, 0) is None
    assert exact.delay_s(10, 60) is None, "a receiver does not make it longer"


def test_the_spread() -> None:
    """Each delay is within a tenth of the table's, times the factor, and not always the same."""
    retries = Retries(1 / 600)
    for attempt, table_s in enumerate(TABLE_S, 1):
        found = {retries.delay_s(attempt, 0) for _ in range(50)}
        assert len(found) > 1
        assert all(one is not None and 0.9 <= one * 600 / table_s <= 1.1 for one in found)


def test_a_receiver_asks_for_time() -> None:
    """Retry-After lengthens a delay, as seconds or a date, up to a day; nonsense does nothing."""
    retries = Retries()
    assert retries.delay_s(1, 120) == 120
    assert retries.delay_s(3, 1) > 1_000
    assert retries.delay_s(1, 1e9) == 86_400
    now_s = 1_795_000_000.0
    assert retry_after_s("120", now_s) == 120
    assert retry_after_s("Wed, 18 Nov 2026 11:07:40 GMT", now_s) == pytest.approx(1_795_000_060 - now_s)
    assert retry_after_s("Wed, 18 Nov 2020 11:07:40 GMT", now_s) == 0
    for nonsense in ("", "soon", "-1", "1e9", "9" * 400, "Wed, 99 Nov 2026 99:99:99 GMT", "\xff", "١٢"):
        assert retry_after_s(nonsense, now_s) == 0
