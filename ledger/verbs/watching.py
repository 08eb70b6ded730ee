"""Owns what beats tell in the long run: accounts that are refused, spent or back, and pools that nobody serves."""

import asyncio
import time
from typing import Any, Final

from ledger.commits.telling_alone import tell, turned
from ledger.commits.writer import Writer
from ledger.rules.book import Told
from ledger.store.base import StoreError
from ledger.verbs.base import Services
from ledger.verbs.pools import accounts_of
from runtime.log import get_logger
from schemas.bus.frames import AccountState, Beat

LOOK_S: Final = 5.0
UNSERVED_S: Final = 30.0
STATES_MAX: Final = 10_000  # of pools and accounts that are watched
_ACCOUNT_EVENTS: Final = {
    AccountState.REFUSED: "account.refused",
    AccountState.SPENT: "account.spent",
    AccountState.OK: "account.recovered",
}
_POOL_EVENTS: Final = {"unserved": "pool.unserved", "served": "pool.served"}
_GOOD: Final = ("ok", "served")
_logger = get_logger("ledger.watching")


class Watching:
    """The watch of one ledger. A state is told once it was the same at two looks."""

    def __init__(self, services: Services, writer: Writer) -> None:
        self._services = services
        self._writer = writer
        self._told: dict[str, str] = {}  # as far as this ledger knows
        self._before: dict[str, str] = {}  # at the last look
        self._heard: dict[str, float] = {}  # when a pool was last served, as far as it was ever looked at

    async def run(self, look_s: float = LOOK_S) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(look_s)
            try:
                await self.look(time.monotonic())
            except StoreError as error:
                _logger.warning("states of pools have to wait", error=str(error))
            except Exception:
                _logger.exception("states of pools could not be told")

    async def look(self, now: float) -> None:
        """Tells of what has changed since it was told last. Raises StoreError."""
        live = self._services.beats.live()
        found: dict[str, tuple[str, Told]] = {}
        for pool in sorted(self._services.providers.keys() | live.keys())[:STATES_MAX]:
            found |= self._pool(pool, live.get(pool, []), now)
            found |= _accounts(pool, live.get(pool, []))
        for id_, (state, one) in found.items():
            if self._before.get(id_) == state and self._told.get(id_) != state:
                await self._tell(id_, state, one)
        self._before = {id_: state for id_, (state, _) in found.items()}

    def _pool(self, pool: str, beats: list[Beat], now: float) -> dict[str, tuple[str, Told]]:
        since = self._heard.setdefault(pool, now)
        if beats:
            self._heard[pool] = since = now
        state = "unserved" if now - since >= UNSERVED_S else "served" if beats else ""
        if not state:
            return {}
        data = {"id": pool, "workers": len(beats)}
        return {f"pool:{pool}": (state, Told(_POOL_EVENTS[state], pool, "", data))}

    async def _tell(self, id_: str, state: str, one: Told) -> None:
        async def work() -> None:
            async with self._writer.committer.store.write() as tx:
                before = await turned(tx, id_, state)
                if before is not None and (before or state not in _GOOD):
                    await tell(tx, [one])

        await self._writer.between(work)
        if len(self._told) > STATES_MAX:
            self._told.clear()
        self._told[id_] = state


def _accounts(pool: str, beats: list[Beat]) -> dict[str, tuple[str, Told]]:
    found: dict[str, tuple[str, Told]] = {}
    for row in accounts_of(beats, {}):
        happened = _ACCOUNT_EVENTS.get(row["state"])
        if happened is not None:
            id_ = f"{pool}:{row['id']}"
            data: dict[str, Any] = {
                "id": id_,
                "pool": pool,
                "account": row["id"],
                "state": row["state"],
                "reason": row.get("reason", ""),
            }
            found[f"account:{id_}"] = (row["state"], Told(happened, id_, "", data))
    return found
