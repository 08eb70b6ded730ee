"""What the loop's watch measures, on a clock of the test's own."""

import math
from typing import Any

from structlog.testing import capture_logs

from edge.watch import LOG_GAP_S, LONG_S, PERIOD_S, QUIET_LOOKS, Watch


class _Clock:
    """A loop of one timer, and the processor time of its thread."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.steps: list[float] = []
        self.at_work = True
        self.due = math.inf
        self.watch = Watch(self, lambda: self.at_work, self.steps.append, lambda: self.cpu)  # type: ignore[arg-type]  # all of a loop that it uses

    def time(self) -> float:
        """The loop's own clock."""
        return self.now

    def call_at(self, when: float, look: Any) -> "_Clock":
        """Keeps the one timer that there is."""
        self.due, self.look = when, look
        return self

    def turn(self, *, idle_s: float = 0.0, busy_s: float = 0.0, waiting_s: float = 0.0) -> float:
        """What is measured of a turn that sleeps, then runs and waits for the machine."""
        self.now = max(self.now + idle_s + busy_s + waiting_s, self.due)
        self.cpu += busy_s
        self.due = math.inf
        self.look()
        return self.steps[-1]


def test_a_step_is_measured_in_processor_time() -> None:
    """A long callback counts for what it took, at most a period more; idling and waiting for the machine do not count."""
    clock = _Clock()
    assert clock.turn(idle_s=5.0) == 0.0
    assert clock.turn(waiting_s=5.0) == 0.0
    assert clock.turn(waiting_s=5.0, busy_s=0.003) == 0.003
    assert 0.3 <= clock.turn(busy_s=0.3) <= 0.3 + PERIOD_S


def test_many_short_steps_are_no_long_one() -> None:
    """Of what ran while the timer was not yet due no more counts than fits between the last look and a late timer."""
    clock = _Clock()
    assert clock.turn(busy_s=PERIOD_S * 0.9) <= PERIOD_S


def test_lines_about_long_steps_are_bounded() -> None:
    """However many steps are long, there is one line in a while, which counts them and names the longest."""
    with capture_logs() as lines:
        clock = _Clock()
        for _ in range(5):
            clock.turn(busy_s=LONG_S * 2)
        clock.turn(busy_s=LONG_S * 5)
        clock.turn(idle_s=LOG_GAP_S)
        for _ in range(5):
            clock.turn(idle_s=LOG_GAP_S)
    assert [(line["steps"], line["longest_ms"]) for line in lines] == [(1, 200), (5, 500)]


def test_an_edge_that_serves_nobody_is_not_looked_at() -> None:
    """Without work the looks end; bytes of a caller begin them anew, and what is done about those counts whole."""
    clock = _Clock()
    for _ in range(3 * QUIET_LOOKS):
        clock.turn(idle_s=PERIOD_S)
        assert clock.due < math.inf
    clock.at_work = False
    clock.watch.hear()
    for _ in range(QUIET_LOOKS - 1):
        clock.turn(idle_s=PERIOD_S)
        assert clock.due < math.inf
    clock.turn(idle_s=PERIOD_S)
    assert clock.due == math.inf
    clock.now += 60.0
    clock.cpu += 5.0  # beside the loop, or for nobody
    clock.watch.hear()
    assert 0.299 <= clock.turn(busy_s=0.3) <= 0.3 + PERIOD_S


def test_a_long_step_is_told_though_nothing_follows_it() -> None:
    """The looks go on until the line about a long step is written."""
    with capture_logs() as lines:
        clock = _Clock()
        clock.turn(busy_s=LONG_S * 2)
        clock.at_work = False
        clock.turn(busy_s=LONG_S * 3)
        while clock.due < math.inf:
            clock.turn(idle_s=PERIOD_S)
    assert [(line["steps"], line["longest_ms"]) for line in lines] == [(1, 200), (1, 300)]
