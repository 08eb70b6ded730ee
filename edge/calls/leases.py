"""Owns the leases of one edge's holds: renewed in bulk, as long as their calls run."""

from collections.abc import Mapping

from edge.calls.errands import Errands
from edge.calls.host import CallView
from runtime.ledger import LedgerAwayError, LedgerClient
from schemas.verbs.base import VERSION
from schemas.verbs.calls import RENEW, RENEW_INTERVAL_S, Renew

RENEWED_MAX = 1000  # leases in one request


class Leases:
    """Renews the leases of the calls that run. Times are monotonic."""

    def __init__(self, ledger: LedgerClient, errands: Errands, calls: Mapping[str, CallView]) -> None:
        self._ledger = ledger
        self._errands = errands
        self._calls = calls
        self._renew_at = 0.0

    def tick(self, now: float) -> None:
        """Renews all of them if that is due."""
        if self._calls and now >= self._renew_at:
            self._renew_at = now + RENEW_INTERVAL_S
            self._errands.start(self._renew())

    async def _renew(self) -> None:
        ids = list(self._calls)
        try:
            for start in range(0, len(ids), RENEWED_MAX):
                await self._ledger.ask(RENEW, Renew(VERSION, tuple(ids[start : start + RENEWED_MAX])))
        except LedgerAwayError:
            self._renew_at = 0.0  # at the next tick
