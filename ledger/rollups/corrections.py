"""Owns how roll-ups follow a row of a call that changes: the old figures go, the new ones come.

Both are booked in the hour of the correction, so that no sum of an hour that is over changes. A row that is not summed yet
will be summed as it is then, in its own hour: where that hour is over, what has changed since is taken off there.
"""

from collections.abc import Iterable

from ledger.rollups.sql import HOUR_MS, ROLLED, ROLLUPS
from ledger.rules.rows import UsageRow
from ledger.store.base import Transaction

_BILLS, _ATTEMPTS = "u.slot = 0", "u.slot > 0"
_OWN = "u.created_ms"


class Correction:
    """Rows that a commit changes: `before` and `after` their update, in its transaction."""

    def __init__(self, changed: Iterable[UsageRow], now_ms: int) -> None:
        rows = list(changed)
        hour_ms = now_ms - now_ms % HOUR_MS
        self._parts = _by_slot(rows)
        self._late = _by_slot(one for one in rows if one.created_ms < hour_ms)
        self._rolled = 0

    async def before(self, tx: Transaction) -> None:
        """Takes the old figures off; the mark stays where it is until the commit."""
        (row,) = await tx.fetch(ROLLED + tx.locked)
        self._rolled = int(row[0])
        await self._book(tx, "-", "")

    async def after(self, tx: Transaction) -> None:
        """Adds the new ones."""
        await self._book(tx, "", "-")

    async def _book(self, tx: Transaction, sign: str, opposite: str) -> None:
        now = str(tx.now_ms)
        if self._rolled:
            await self._add(tx, self._parts, f"u.seq <= {self._rolled}", ((now, sign),))
        await self._add(tx, self._late, f"u.seq > {self._rolled}", ((now, sign), (_OWN, opposite)))

    async def _add(
        self, tx: Transaction, parts: dict[str, set[str]], rows: str, booked: tuple[tuple[str, str], ...]
    ) -> None:
        for part, request_ids in parts.items():
            where = f"u.request_id {tx.among} AND {part} AND {rows}"
            for when, sign in booked if request_ids else ():
                for rollup in ROLLUPS:
                    await tx.execute(rollup.added(when, where, sign), tx.array(request_ids))


def _by_slot(rows: Iterable[UsageRow]) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {_BILLS: set(), _ATTEMPTS: set()}
    for row in rows:
        parts[_BILLS if row.slot == 0 else _ATTEMPTS].add(row.request_id)
    return parts
