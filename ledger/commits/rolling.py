"""Owns how calls get into the roll-ups: in rounds of an errand, up to a mark below which no row can appear any more.

Rows of calls are numbered as they are inserted, not as they are committed: a ledger may commit number 7 after another
has committed number 9. So on PostgreSQL a round notes the newest row that it sees with the next transaction's number,
and rolls up to that row once every transaction before that number has ended. SQLite has one writer, so there a row that
is seen has none below it to come.
"""

import asyncio
from typing import Final

from ledger.commits.ledgers import admitted, take_over
from ledger.commits.writer import Writer
from ledger.rollups.sql import ROLLED, ROLLUPS
from ledger.store.base import StoreError, Transaction
from ledger.store.filling import taken_over
from runtime.log import get_logger

INTERVAL_S: Final = 5.0
ROWS_MAX: Final = 5_000  # in one transaction
LOOKS_S: Final = (0.0, 0.0, 0.1, 0.3)  # before each look; the first notes the newest row
_NEWEST: Final = "SELECT COALESCE(MAX(seq), 0) FROM usage"
_SNAPSHOT: Final = (
    "SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text), CAST(pg_current_xact_id() AS text)"
)
_logger = get_logger("ledger.rollups")


async def roll(tx: Transaction, settled_seq: int) -> bool:
    """Rolls rows up to a mark, ROWS_MAX at most. Whether there may be more. One ledger at a time."""
    (row,) = await tx.fetch(ROLLED + tx.locked)
    begin = int(row[0])
    end = min(begin + ROWS_MAX, settled_seq)
    if end <= begin:
        return False
    for rollup in ROLLUPS:
        await tx.execute(rollup.added("u.created_ms", f"u.seq > {begin} AND u.seq <= {end}"))
    await tx.execute("UPDATE rollups SET seq = $1 WHERE id = 'usage'", end)
    return end < settled_seq


class Rolling:
    """The errand of one ledger."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = writer.committer.store
        self._pending: tuple[int, int] | None = None  # the next transaction, and the newest row then
        self._settled_seq = 0
        self._connected = 0.0
        self._taken_over = False

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Rolls until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.step()
            except StoreError as error:
                _logger.warning("roll-ups have to wait", error=str(error))

    async def step(self) -> None:
        """One round: all that can be rolled, which mostly is all that was there when it began."""
        if not self._taken_over:
            await take_over(self._store)
            self._taken_over = await taken_over(self._store)
        for pause_s in LOOKS_S:
            await asyncio.sleep(pause_s)
            while await self._writer.between(self._round):
                pass
            if self._pending is None or self._pending[1] <= self._settled_seq:
                break

    async def _round(self) -> bool:
        async with self._store.write() as tx:
            if not await admitted(tx):  # an older ledger corrects calls without their sums
                return False
            await self._look(tx)
            return await roll(tx, self._settled_seq)

    async def _look(self, tx: Transaction) -> None:
        """Moves the mark as far as it is safe."""
        if self._store.dialect == "sqlite":
            (row,) = await tx.fetch(_NEWEST)
            self._settled_seq = int(row[0])
            return
        if self._connected != self._store.connected_since:  # it may be another database by now
            self._connected, self._pending, self._settled_seq = self._store.connected_since, None, 0
        (row,) = await tx.fetch(_NEWEST)
        (numbers,) = await tx.fetch(
            _SNAPSHOT
        )  # whoever has numbered a row below that one has a lower number than this
        oldest_running, following = int(numbers[0]), int(numbers[1])
        if self._pending is not None and self._pending[0] <= oldest_running:
            self._settled_seq, self._pending = self._pending[1], None
        if self._pending is None:
            self._pending = following, int(row[0])
