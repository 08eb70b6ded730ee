"""Owns what a worker does at regular times: ticks, leases, and the ledger's figures for accounts."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from runtime.bus.bus import Bus, BusError
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import LedgerVerb
from schemas.verbs import calls as books
from workers.calls.calls import Calls
from workers.pool import Pool

TICK_S = 0.2
INVENTORY_INTERVAL_S = 1.0
LEDGER_TIMEOUT_S = 3.0
IDS_PER_RENEWAL_MAX = 2048

_decode_inventory = msgspec.msgpack.Decoder(books.InventoryReply).decode
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


async def renew_leases(bus: Bus, calls: Calls, pools: Sequence[Pool]) -> None:
    """Renews the leases of all calls that are not billed yet, in bulk; until cancelled. A failure is tried again after a second.

    A call that has ended is among them until its event is in the stream, however long that takes.
    """

    def unbilled() -> list[str]:
        ids = set(calls.request_ids()).union(*(pool.serving.meter.request_ids() for pool in pools))
        return sorted(ids)

    while True:
        await asyncio.sleep(books.RENEW_INTERVAL_S)
        while ids := unbilled():
            try:
                for start in range(0, len(ids), IDS_PER_RENEWAL_MAX):
                    request = books.Renew(books.VERSION, tuple(ids[start : start + IDS_PER_RENEWAL_MAX]))
                    await bus.request(
                        subjects.ledger(LedgerVerb.RENEW), books.encode(request), LEDGER_TIMEOUT_S
                    )
                break
            except BusError as error:
                _logger.warning("leases not renewed", error=type(error).__name__, calls=len(ids))
                await asyncio.sleep(1.0)


async def follow_inventory(bus: Bus, pool: Pool) -> None:
    """Asks each second what credit the pool's accounts have left; until cancelled."""
    accounts = pool.serving.accounts
    request = books.encode(books.Inventory(books.VERSION, pool.serving.pool))
    while accounts.metered:
        try:
            reply = await bus.request(subjects.ledger(LedgerVerb.INVENTORY), request, LEDGER_TIMEOUT_S)
            accounts.credit(_decode_inventory(reply).credit_nano)
        except (BusError, msgspec.MsgspecError) as error:
            _logger.debug("inventory not known", pool=pool.serving.pool, error=type(error).__name__)
        await asyncio.sleep(INVENTORY_INTERVAL_S)
