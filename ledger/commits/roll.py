"""Owns one ledger's own row among those that run: written at the start, and again while it runs."""

import asyncio
import contextlib

from ledger.commits.pepper import adopt, advance
from ledger.commits.writer import Writer
from ledger.store.base import Store, StoreError
from ledger.store.filling import LEAST
from runtime.log import get_logger

SEEN_STEP_S = 20.0
FORGOTTEN_MS = 86_400_000
_logger = get_logger("ledger.roll")


class Roll:
    """One ledger's own row."""

    def __init__(self, store: Store, writer: Writer, id_: str) -> None:
        self._store = store
        self._writer = writer
        self._id = id_

    async def call(self) -> None:
        """Says that this ledger runs, and forgets those that ended long ago. A new pepper may take over here.

        Raises SettingsError where another has taken over that this ledger does not have.
        """
        peppers = self._writer.committer.peppers
        async with self._store.write() as tx:
            kept = await advance(tx, peppers, self._id)
            forgotten = "DELETE FROM ledgers WHERE id <> $1 AND seen_ms < $2"
            await tx.execute(forgotten, LEAST, tx.now_ms - FORGOTTEN_MS)
        if kept != peppers.current:
            adopt(peppers, kept)

    async def leave(self) -> None:
        """Says that this ledger has ended; where it cannot, the others see that by themselves."""
        with contextlib.suppress(StoreError):
            async with self._store.write() as tx:
                await tx.execute("DELETE FROM ledgers WHERE id = $1", self._id)

    async def run(self) -> None:
        """Says so at once and then each SEEN_STEP_S, until cancelled."""
        while True:
            try:
                await self._writer.between(self.call)
            except StoreError as error:
                _logger.warning("this ledger's row has to wait", error=str(error))
            await asyncio.sleep(SEEN_STEP_S)
