"""Owns time as a test's own event loop has it: while the loop is kept from running, none of it passes.

A bound in seconds says how busy the machine is. A bound in ticks says how long the code of this loop waited of its own
accord: what keeps the loop from its timers keeps it from the ticks, too.
"""

import asyncio

TICK_S = 0.01


class Ticks:
    """`s` is how much has passed since it was made, inside a running loop; it counts until that loop is closed."""

    def __init__(self) -> None:
        self.s = -TICK_S
        self._loop = asyncio.get_running_loop()
        self._tick()

    def _tick(self) -> None:
        self.s += TICK_S
        self._loop.call_later(TICK_S, self._tick)
