"""Owns what one edge tells workers of attempts: what was consumed, when to stop, and whose beat to repeat in full."""

import time
from collections import OrderedDict

from edge import telemetry
from runtime.bus.bus import Bus, BusError
from schemas.bus import frames, subjects
from schemas.bus.frames import Beat, Cancel, Credit, Recite

CANCELLED_MAX = 4096  # stale attempts that are remembered as told to stop
CANCEL_AGAIN_S = 1.0


class Control:
    """Speaks to the workers of one edge's calls. Nothing here blocks or raises."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._cancelled: OrderedDict[tuple[str, int], float] = OrderedDict()

    def tell(self, worker_id: str, message: Cancel | Credit | Recite) -> None:
        """Tells a worker something, as long as NATS can be spoken to."""
        try:
            self._bus.publish(subjects.control(worker_id), frames.encode(message))
        except BusError:
            return  # repeated at a later tick, at its next beat, or after the reconnect

    def cancel(self, worker_id: str, request_id: str, attempt: int, *, left: bool = False) -> None:
        """Tells a worker to stop an attempt, and whether its caller has left."""
        self._cancelled[request_id, attempt] = time.monotonic()
        self._cancelled.move_to_end((request_id, attempt))
        if len(self._cancelled) > CANCELLED_MAX:
            self._cancelled.popitem(last=False)
        self.tell(worker_id, Cancel(request_id, attempt, left))

    def stale(self, worker_id: str, request_id: str, attempt: int) -> None:
        """Frames of an attempt that has ended here, or was replaced: its worker is told to stop, now and then."""
        telemetry.STALE_FRAMES.inc()
        now = time.monotonic()
        told = self._cancelled.get((request_id, attempt), 0.0)
        if now - told < CANCEL_AGAIN_S or not subjects.is_token(worker_id):
            return
        self.cancel(worker_id, request_id, attempt)

    def recite(self, beat: Beat) -> None:
        """Has a worker say a beat in full that was brief, and stands for what is not known here."""
        if subjects.is_token(beat.worker_id):
            self.tell(beat.worker_id, Recite(beat.pool))
