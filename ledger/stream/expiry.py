"""Owns the end of holds whose lease ran out: late rather than wrong, since a bill may still be on its way.

Three guards: nothing expires soon after a start, a reconnection or a time that was slept through, when renewals may have
been missed; nor unless the lease ran out on the database's clock; nor until the books have everything that the stream
held after that moment.
"""

import asyncio
import time

from ledger.commits.writer import Writer
from ledger.store.base import StoreError
from ledger.stream.consumer import Consumer
from runtime.bus.bus import Bus, BusError
from runtime.log import get_logger

INTERVAL_S = 2.0
QUIET_S = 30.0  # after a start, a reconnection, or a time that was slept through
SLEPT_MS = 10_000  # a jump of the database's clock against ours: the machine slept, or a clock was set
_logger = get_logger("ledger.expiry")


class Expiry:
    """Expires holds every few seconds."""

    def __init__(self, bus: Bus, writer: Writer, consumer: Consumer, quiet_s: float = QUIET_S) -> None:
        self._bus = bus
        self._writer = writer
        self._store = writer.committer.store
        self._consumer = consumer
        self._quiet_s = quiet_s
        self._started = time.monotonic()
        self._ahead_ms: float | None = None  # the database's clock beyond this process's, at the last look
        self._moment_ms = 0  # leases that ended before this …
        self._moment = 0.0
        self._barrier: int | None = None  # … may expire once everything up to this sequence is applied
        self._identity = ""

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.step()
            except (StoreError, BusError) as error:
                _logger.warning("expiry has to wait", error=str(error))
            except Exception:
                _logger.exception("expiry failed")

    def quiet(self) -> bool:
        """Whether it is too soon after a start, a sleep, or a reconnection to the bus or to the database."""
        since = max(self._started, self._bus.connected_since, self._store.connected_since)
        return not self._bus.connected or time.monotonic() - since < self._quiet_s

    async def step(self) -> int:
        """One look. Returns how many holds ended."""
        now_ms, own_ms = await self._writer.between(self._clock)
        ahead_ms = now_ms - own_ms
        if self._ahead_ms is not None and ahead_ms - self._ahead_ms > SLEPT_MS:
            self._started = time.monotonic()
        self._ahead_ms = ahead_ms
        if self.quiet():
            self._moment_ms, self._barrier = 0, None
            return 0
        if self._moment_ms == 0:
            self._moment_ms, self._barrier = now_ms, None
            self._moment = time.monotonic()  # not before: what came into the stream meanwhile must count
        acknowledged = self._consumer.acknowledged
        if self._barrier is None:
            # The stream's last sequence must have been read after the moment.
            if acknowledged is None or self._consumer.watched <= self._moment:
                return 0
            self._identity, self._barrier = acknowledged[0], self._consumer.last_seq
        if acknowledged is None or acknowledged[0] != self._identity:
            self._moment_ms = 0  # another stream: begin again
            return 0
        if acknowledged[1] < self._barrier or await self._applied() < self._barrier:
            return 0
        ended: int = await self._writer.between(lambda: self._writer.committer.expire(self._moment_ms))
        if ended:
            _logger.info("holds ended by their lease", holds=ended)
        else:
            self._moment_ms = 0
        return ended

    async def _clock(self) -> tuple[int, float]:
        """The database's clock, and this process's at the same moment."""
        async with self._store.write() as tx:
            return tx.now_ms, time.monotonic() * 1000

    async def _applied(self) -> int:
        rows = await self._store.fetch(
            "SELECT applied_seq FROM stream_positions WHERE identity = $1", self._identity
        )
        return int(rows[0][0]) if rows else 0
