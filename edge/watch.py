"""Owns watching the loop: how much processor time it spends between two looks at its timers, which nobody may make long."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from edge.telemetry import STEPS
from runtime.log import get_logger

PERIOD_S: Final = 0.02
QUIET_LOOKS: Final = 50  # in a row while nobody sent anything and nothing was at work: then it looks no more
LONG_S: Final = 0.1
LOG_GAP_S: Final = 10.0  # between two lines about long steps
_logger = get_logger("edge.watch")


class Watch:
    """A timer that measures how late it comes. `cpu` is the clock of this thread's processor time.

    A step is all that the loop did while the timer was overdue, and at most a period before that: so what is measured
    is never less than the longest callback, and at most a period more. Waiting for a busy machine does not count.

    An edge that serves nobody holds nobody up, and fifty looks a second are most of what it would spend: so it looks
    while something is `at_work`, and for a second after callers' bytes were heard.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        at_work: Callable[[], bool],
        observe: Callable[[float], None] = STEPS.observe,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop = loop
        self._at_work = at_work
        self._observe = observe
        self._cpu = cpu
        self._long = 0  # since the last line
        self._longest_s = 0.0
        self._said: float | None = None  # when the last line was written
        self._quiet = 0  # looks since bytes were heard
        self._timer: asyncio.TimerHandle | None = None  # None: it does not look
        self.hear()

    def hear(self) -> None:
        """A caller has come, or sent something; what is done about it is yet to begin."""
        self._quiet = 0
        if self._timer is None:
            self._start()

    def _start(self) -> None:
        self._due = self._loop.time() + PERIOD_S
        self._spent_s = self._cpu()
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        step_s = min(self._cpu() - self._spent_s, now - self._due + PERIOD_S)
        self._observe(step_s)
        if step_s > LONG_S:
            self._long += 1
            self._longest_s = max(self._longest_s, step_s)
        if self._long and (self._said is None or now - self._said >= LOG_GAP_S):
            _logger.warning(
                "the loop was held up", steps=self._long, longest_ms=round(self._longest_s * 1_000)
            )
            self._said, self._long, self._longest_s = now, 0, 0.0
        self._quiet += 1
        if self._quiet < QUIET_LOOKS or self._long or self._at_work():
            self._start()
        else:
            self._timer = None

    def close(self) -> None:
        """Stops."""
        if self._timer is not None:
            self._timer.cancel()
