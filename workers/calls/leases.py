"""Owns whether the holds of a worker's calls are certain to be open still: a bill after a hold's end may be smaller."""

from schemas.verbs.calls import LEASE_S

# A lease lasts longer than this from a renewal that a ledger has confirmed, and from the accept of a job, whose edge
# renewed it a moment before.
SURE_S = LEASE_S / 2


class Leases:
    """When leases were last known to be renewed, all of them. Times are time.monotonic()."""

    __slots__ = ("_broken_at", "_renewed_at")

    def __init__(self) -> None:
        self._renewed_at = 0.0
        self._broken_at = 0.0  # holds of calls that had begun by then may have ended meanwhile

    def renewed(self, now: float) -> None:
        """Every call that had begun by now has its lease renewed, or there is none."""
        if now - self._renewed_at > SURE_S:
            self._broken_at = now - SURE_S
        self._renewed_at = now

    def sure(self, began: float, now: float) -> bool:
        """Whether the hold of a call that began then is open for certain."""
        return began > self._broken_at and now - max(began, self._renewed_at) <= SURE_S
