"""Owns how long a call may wait for what: room, an accept, its whole answer, and its end once the caller has left."""

from edge import faults
from edge.calls.host import Host
from edge.limits import Limits
from schemas.errors import WireError


class Deadlines:
    """Since when a call waits. Times are monotonic, None for what has not been yet."""

    def __init__(self, limits: Limits, now: float, deadline_s: float, candidates: int = 1) -> None:
        self._limits = limits
        self._room_s = limits.full_wait_s / candidates  # all of them together wait no longer than one would
        self._over_at = now + deadline_s + limits.call_grace_s
        self._offered = now
        self._waiting_since: float | None = None
        self._left_at: float | None = None

    def worker_s(self, now: float) -> float:
        """Seconds that a worker may take."""
        return max(self._over_at - self._limits.call_grace_s - now, 1.0)

    def spent(self, now: float) -> bool:
        """Whether a worker has had all the time that the call may take."""
        return now >= self._over_at - self._limits.call_grace_s

    def over(self, now: float) -> bool:
        """Whether the whole call is overdue."""
        return now >= self._over_at

    def offered(self, now: float) -> None:
        """A job has gone out."""
        self._offered = now

    def unanswered(self, host: Host, now: float) -> bool:
        """Whether a job that is out should have been accepted."""
        return now - self._offered >= (self._limits.accept_s if host.connected else self._limits.bus_s)

    def waiting(self, now: float) -> None:
        """Nothing is out. Offers in between do not start the wait anew."""
        if self._waiting_since is None:
            self._waiting_since = now

    def again(self) -> None:
        """The next attempt begins."""
        self._waiting_since = None

    def no_room(self, host: Host, model: str, now: float) -> WireError | None:
        """Why a call that waits for a worker must wait no longer."""
        since = now if self._waiting_since is None else self._waiting_since
        if not host.connected:
            return faults.BUS_AWAY if now - since >= self._limits.bus_s else None
        waited_s = now - max(since, host.connected_since)
        return faults.no_room(model) if waited_s >= self._room_s else None

    def left(self, now: float) -> None:
        """The caller has left."""
        self._left_at = now

    def followed(self, now: float) -> bool:
        """Whether a call whose caller has left has been followed for long enough."""
        return self._left_at is not None and now - self._left_at >= self._limits.left_s
