"""Owns how roll-ups follow a row of a call that changes after it was summed: the old figures go, the new ones come.

Both are booked in the hour of the correction, so that no sum of an hour that is over changes.
"""

from ledger.rollups.sql import ROLLED, ROLLUPS
from ledger.store.base import Transaction

_BILLS, _ATTEMPTS = "u.slot = 0", "u.slot > 0"


class Correction:
    """Rows that a commit changes: `before` and `after` their update, in its transaction."""

    def __init__(self, changed: list[tuple[str, int]]) -> None:
        """`changed` are request ids with slots."""
        self._parts = {
            part: {request_id for request_id, slot in changed if (slot == 0) is (part == _BILLS)}
            for part in (_BILLS, _ATTEMPTS)
        }
        self._rolled = 0

    async def before(self, tx: Transaction) -> None:
        """Takes the old figures off, of rows that are summed already; the mark stays where it is until the commit."""
        (row,) = await tx.fetch(ROLLED + tx.locked)
        self._rolled = int(row[0])
        await self._book(tx, "-")

    async def after(self, tx: Transaction) -> None:
        """Adds the new ones."""
        await self._book(tx, "")

    async def _book(self, tx: Transaction, sign: str) -> None:
        if not self._rolled:
            return
        for part, request_ids in self._parts.items():
            if request_ids:
                where = f"u.request_id {tx.among} AND {part} AND u.seq <= {self._rolled}"
                for rollup in ROLLUPS:
                    await tx.execute(rollup.added(str(tx.now_ms), where, sign), tx.array(request_ids))
