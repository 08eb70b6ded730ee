"""Owns the pools of a worker: which it serves, how they come and go, and how they follow new settings while calls run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import Struct

from runtime.ledger import LedgerClient
from runtime.reload import Switch
from runtime.settings.settings import PoolSettings, Settings, SettingsError
from runtime.settings.sold import sold_by
from runtime.tasks import Vital
from schemas.catalogue.model import Model
from workers import upkeep
from workers.calls.calls import Calls
from workers.calls.serving import Serving
from workers.discovery import PACE, Discovery, stock
from workers.pool import Pool
from workers.providers.base import Prepared

SETTLED_LOOK_S = 0.5  # between two looks at whether a pool that was left has settled its calls

Make = Callable[[PoolSettings, Settings], Awaitable[Serving]]


class _Plan(Struct, frozen=True):
    """What a switch does: pools that stay with what they get, pools that begin, and the settings of both by name."""

    stays: Mapping[str, tuple[PoolSettings, Mapping[str, Model]]]
    begins: Mapping[str, tuple[PoolSettings, Serving]]


class Pools:
    """The pools named `words`, or all of the settings if there are none.

    `alone` is the pool whose own user the connection is of, if any: then it can serve no other. `make` puts a pool
    together. `current` are those that take jobs; `every` has those too that are left and not settled.
    """

    def __init__(
        self,
        calls: Calls,
        ledger: LedgerClient,
        vital: Vital,
        make: Make,
        *,
        words: tuple[str, ...],
        alone: str,
    ) -> None:
        self.current: list[Pool] = []
        self.every: list[Pool] = []
        self._settings: dict[str, PoolSettings] = {}
        self._calls = calls
        self._ledger = ledger
        self._vital = vital
        self._make = make
        self._words = words
        self._alone = alone
        self._errands: dict[str, list[asyncio.Task[Any]]] = {}
        self._begins: dict[str, tuple[PoolSettings, Serving]] = {}  # that were prepared last

    def chosen(self, settings: Settings) -> list[PoolSettings]:
        """Those of some settings that this worker serves."""
        return [pool for pool in settings.pools if not self._words or pool.name in self._words]

    async def start(self, settings: Settings) -> None:
        """Serves them. Raises SettingsError."""
        made = [(pool, await self._make(pool, settings)) for pool in self.chosen(settings)]
        for pool, serving in made:
            self._add(pool, serving)
        for one in self.current:
            await one.start()

    def _add(self, settings: PoolSettings, serving: Serving) -> Pool:
        pool = Pool(serving, self._calls)
        self._settings[settings.name] = settings
        self.current.append(pool)
        self.every.append(pool)
        self._run_errands(pool)
        return pool

    def _run_errands(self, pool: Pool) -> None:
        # Of a pool without limited credit nothing is asked, and some families have no lists.
        name, start = pool.serving.pool, partial(self._vital.start, may_return=True)
        running = [start("inventory", upkeep.follow_inventory(self._ledger, pool))]
        if (known := stock(pool.serving)) is not None:
            running.append(start("lists", Discovery(pool.serving, known, PACE).run()))
        self._errands[name] = running

    async def _end_errands(self, name: str) -> None:
        for task in self._errands.pop(name, ()):
            await self._vital.end(task)

    async def prepare(self, settings: Settings) -> Switch:
        """Puts together what new settings need. Raises SettingsError."""
        chosen = self.chosen(settings)
        if self._alone and (other := [pool.name for pool in chosen if pool.name != self._alone]):
            raise SettingsError(
                f"{settings.source}: [pools.{other[0]}]: this worker is connected as [pools.{self._alone}] alone:"
                " restart it to serve another"
            )
        stays: dict[str, tuple[PoolSettings, Mapping[str, Model]]] = {}
        begins = self._begins = {}
        try:
            await self._prepare(settings, chosen, stays)
        except BaseException:
            self.drop()
            raise
        return partial(self._switch, _Plan(stays, begins))

    async def _prepare(
        self,
        settings: Settings,
        chosen: list[PoolSettings],
        stays: dict[str, tuple[PoolSettings, Mapping[str, Model]]],
    ) -> None:
        serving = {pool.serving.pool: pool.serving for pool in self.current}
        for pool in chosen:
            if _goes_on(self._settings.get(pool.name), pool):
                models = await asyncio.to_thread(sold_by, settings, pool, datetime.now(UTC).date())
                made = serving[pool.name].family
                if isinstance(made, Prepared):
                    serving[pool.name].accounts.coming = pool.accounts
                    await made.prepare(pool.accounts)
                stays[pool.name] = (pool, models)
            else:
                self._begins[pool.name] = (pool, await self._make(pool, settings))

    def drop(self) -> None:
        """What was prepared is not taken: credentials that only it needs are ended."""
        begins, self._begins = self._begins, {}
        for _, serving in begins.values():
            serving.accounts.adopt(())
        for pool in self.current:
            pool.serving.accounts.coming = ()
            pool.serving.accounts.keep()

    async def _switch(self, plan: _Plan) -> None:
        self._begins = {}
        for pool in list(self.current):
            name = pool.serving.pool
            pool.serving.accounts.coming = ()
            if name not in plan.stays:
                await self._leave(pool)
                continue
            settings, models = plan.stays[name]
            if settings != self._settings[name] or models != pool.serving.models:
                await self._end_errands(name)
                pool.serving.on_hangup = settings.on_hangup
                pool.follow(models, settings.accounts)
                self._settings[name] = settings
                self._run_errands(pool)
        for settings, serving in plan.begins.values():
            await self._add(settings, serving).start()

    async def _leave(self, pool: Pool) -> None:
        """Takes no more jobs of a pool; its calls go on, and are renewed and billed as ever."""
        name = pool.serving.pool
        await self._end_errands(name)
        del self._settings[name]
        self.current.remove(pool)
        await pool.go()
        self._vital.start(f"the end of {name}", self._settle(pool), may_return=True)

    async def _settle(self, pool: Pool) -> None:
        while pool.inflight or pool.serving.usage_events.unacked:  # noqa: ASYNC110  its calls know nothing of it
            await asyncio.sleep(SETTLED_LOOK_S)
        self.every.remove(pool)
        pool.serving.accounts.adopt(())


def _goes_on(before: PoolSettings | None, pool: PoolSettings) -> bool:
    """Whether a pool is the same with other accounts: what speaks with its provider stays."""
    return before is not None and (before.provider, before.family, before.words_per_s) == (
        pool.provider,
        pool.family,
        pool.words_per_s,
    )
