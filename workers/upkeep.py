"""Owns what a worker does at regular times: ticks, leases, and the ledger's figures for accounts."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from runtime.bus.bus import BusError
from runtime.ledger import LedgerClient, once
from runtime.log import get_logger
from schemas import verbs
from schemas.verbs.base import VERSION
from schemas.verbs.calls import RENEW, Renew
from schemas.verbs.pools import INVENTORY, Inventory
from workers.calls.calls import Calls
from workers.pool import Pool

TICK_S = 0.2
INVENTORY_INTERVAL_S = 1.0
LEDGER_PATIENCE = once(3.0)
IDS_PER_RENEWAL_MAX = 2048

_logger = get_logger("workers.upkeep")


async def tick(calls: Calls, pools: Sequence[Pool]) -> None:
    """Runs every deadline, keep-alive and beat; until cancelled."""
    while True:
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        try:
            calls.tick(now)
            for pool in pools:
                pool.tick(now)
        except Exception:  # one call's trouble must not end the others' deadlines
            _logger.exception("a tick failed")


async def renew_leases(ledger: LedgerClient, calls: Calls, pools: Sequence[Pool]) -> None:
    """Renews the leases of all calls that are not billed yet, in bulk; until cancelled. A failure is tried again after a second.

    A call that has ended is among them until its event is in the stream, however long that takes.
    """

    def unbilled() -> list[str]:
        ids = set(calls.request_ids()).union(*(pool.serving.usage_events.request_ids() for pool in pools))
        return sorted(ids)

    while True:
        await asyncio.sleep(verbs.calls.RENEW_INTERVAL_S)
        began = time.monotonic()
        while ids := unbilled():
            began = time.monotonic()
            try:
                for start in range(0, len(ids), IDS_PER_RENEWAL_MAX):
                    await ledger.ask(RENEW, Renew(VERSION, tuple(ids[start : start + IDS_PER_RENEWAL_MAX])))
                break
            except (BusError, msgspec.MsgspecError) as error:
                _logger.warning("leases not renewed", error=_name(error), calls=len(ids))
                await asyncio.sleep(1.0)
        for pool in pools:
            pool.serving.leases.renewed(began)


async def follow_inventory(ledger: LedgerClient, pool: Pool) -> None:
    """Asks each second what credit the pool's accounts have left; until cancelled."""
    accounts = pool.serving.accounts
    request = Inventory(VERSION, pool.serving.pool)
    while accounts.metered:
        try:
            accounts.credit((await ledger.ask(INVENTORY, request)).credit_nano)
        except (BusError, msgspec.MsgspecError) as error:
            _logger.debug("inventory not known", pool=pool.serving.pool, error=_name(error))
        await asyncio.sleep(INVENTORY_INTERVAL_S)


def _name(error: Exception) -> str:
    # What the bus said says more than that no ledger answered.
    return type(error.__cause__ or error).__name__
