import time

from structlog.testing import capture_logs

from runtime import bounded
from runtime.bounded import KINDS_MAX, WARNINGS_AT_ONCE, WARNINGS_PER_S, Warnings
from runtime.log import get_logger


def test_a_flood_is_bounded_and_counted(monkeypatch):
    """Of one kind so many lines go at once and so many a second; the rest is counted, and the next line says how many."""
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    warnings = Warnings(get_logger("here"), "it failed")
    before = bounded.suppressed()
    with capture_logs() as said:
        for number in range(1_000):
            warnings.say("a", number=number)
        assert len(said) == WARNINGS_AT_ONCE
        warnings.say("b", number=0)
        assert len(said) == WARNINGS_AT_ONCE + 1, "another kind has its own"
        now += 10
        for number in range(1_000):
            warnings.say("a", number=number)
    again = said[WARNINGS_AT_ONCE + 1 :]
    assert len(again) == min(10 * WARNINGS_PER_S, WARNINGS_AT_ONCE)
    assert again[0]["suppressed"] == 1_000 - WARNINGS_AT_ONCE
    assert "suppressed" not in again[1]
    assert bounded.suppressed() - before == 2_000 - 2 * WARNINGS_AT_ONCE


def test_kinds_are_bounded_too():
    """Whoever makes up kinds gets no lines by it: those beyond a number are one kind."""
    warnings = Warnings(get_logger("here"), "it failed")
    with capture_logs() as said:
        for number in range(10 * KINDS_MAX):
            warnings.say(str(number))
    assert KINDS_MAX <= len(said) <= KINDS_MAX + 2 * WARNINGS_AT_ONCE
