"""Owns what a ledger does on credits by the clock: each minute it ends what has come to its date."""

import asyncio
from functools import partial

from ledger.acts.expiry import expire_lots
from ledger.commits.writer import Writer
from ledger.store.base import StoreError
from runtime.log import get_logger

INTERVAL_S = 60.0
COMMITS_MAX = 100  # at one time; what is left waits for the next
_logger = get_logger("ledger.upkeep")


async def keep_lots(writer: Writer, interval_s: float = INTERVAL_S) -> None:
    """Looks until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            await end_due(writer)
        except StoreError as error:
            _logger.warning("the end of promotional credit has to wait", error=str(error))
        except Exception:
            _logger.exception("the end of promotional credit failed")


async def end_due(writer: Writer) -> None:
    """Ends what is due, in commits of some accounts each, between those of calls. Raises StoreError."""
    after = ""
    for _ in range(COMMITS_MAX):
        after = await writer.between(partial(expire_lots, writer.committer.store, after))
        if not after:
            return
