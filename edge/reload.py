"""Owns what of a running edge follows new settings: its pools and their fairness, CORS, the wait for room, its catalogue."""

import asyncio
from functools import partial

from msgspec import Struct, structs

from edge.admission.catalogue import Catalogue
from edge.calls.relay import Relay
from edge.http.cors import Cors
from edge.limits import Limits
from runtime.reload import Switch
from runtime.settings.fairness import FAIR, Fairness
from runtime.settings.settings import Settings

CATALOGUE_S = 2.0  # for the ledger's new models; after that they come as all news does


class Following(Struct, frozen=True, kw_only=True, eq=False):
    """The parts that are changed in place: `pools` and `rules` are the very objects that others read."""

    limits: Limits
    cors: Cors
    pools: list[str]
    rules: dict[str, Fairness]
    relay: Relay
    catalogue: Catalogue

    async def prepare(self, settings: Settings) -> Switch:
        """An edge can take any settings that can be read."""
        return partial(self._switch, settings)

    async def _switch(self, settings: Settings) -> None:
        # The one bound that moves while calls run: whoever waits already keeps the one that he began with.
        structs.force_setattr(self.limits, "full_wait_s", settings.full_wait_s)
        self.cors.allow(settings.cors_origins)
        self.pools[:] = [pool.name for pool in settings.pools]
        self.rules.clear()
        self.rules.update((pool.name, pool.fairness) for pool in settings.pools)
        for room in self.relay.turns:
            room.rules = self.rules.get(room.pool, FAIR)
        await asyncio.wait([self.catalogue.renew()], timeout=CATALOGUE_S)
