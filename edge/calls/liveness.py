"""Owns how dead workers are found: beats that are overdue make a worker suspect, and two probes that nobody hears prove it."""

import asyncio
from collections.abc import Mapping

from edge import telemetry
from edge.calls.errands import Errands
from edge.calls.host import CallView
from edge.calls.roster import Roster
from edge.limits import Limits
from runtime.bus.bus import Bus, BusError, NoResponders
from runtime.log import get_logger
from schemas.bus import frames, subjects
from schemas.bus.frames import Probe

_logger = get_logger("edge.liveness")


class Liveness:
    """Watches the workers that have calls of one edge."""

    def __init__(
        self,
        bus: Bus,
        roster: Roster,
        errands: Errands,
        calls: Mapping[str, CallView],
        limits: Limits,
    ) -> None:
        self._bus = bus
        self._roster = roster
        self._errands = errands
        self._calls = calls
        self._limits = limits
        self._probed: set[str] = set()

    def heard(self, worker_id: str, now: float) -> bool:
        """Whether a worker's beat is not overdue."""
        return now - self._roster.last_heard(worker_id) <= self._limits.overdue_s

    def tick(self, now: float) -> None:
        """Probes the workers that are suspect."""
        if not self._bus.connected:
            return
        suspects = {call.current.worker_id for call in self._calls.values() if self._suspect(call, now)}
        for worker_id in suspects - self._probed:
            self._probed.add(worker_id)
            self._errands.start(self._probe(worker_id))

    def _suspect(self, call: CallView, now: float) -> bool:
        current = call.current
        if current.accepted is None:
            return False
        heard = max(self._roster.last_heard(current.worker_id), self._bus.connected_since, current.accepted)
        return now - heard > self._limits.overdue_s

    async def _probe(self, worker_id: str) -> None:
        """Two probes without anyone there, and the worker is dead."""
        try:
            if not await self._nobody_at(worker_id):
                return
            await asyncio.sleep(self._limits.probe_gap_s)
            if not await self._nobody_at(worker_id):
                return
            dead = [call for call in self._calls.values() if call.current.worker_id == worker_id]
            _logger.warning("a worker has died", worker_id=worker_id, calls=len(dead))
            telemetry.WORKER_DEATHS.inc()
            for call in dead:
                call.worker_died()
        finally:
            self._probed.discard(worker_id)

    async def _nobody_at(self, worker_id: str) -> bool:
        try:
            await self._bus.request(
                subjects.control(worker_id), frames.encode(Probe()), self._limits.probe_gap_s
            )
        except NoResponders:
            return True
        except BusError:
            return False
        return False
