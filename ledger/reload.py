"""Owns how settings become what a ledger sells, at its start and while it runs."""

import asyncio
import time
from datetime import UTC, date, datetime
from functools import partial

from ledger.commits.opening import Changes, changes, write_changes
from ledger.prices.listed import priced
from ledger.prices.offers import Catalogue
from ledger.prices.reach import pool_regions
from ledger.store.base import StoreDown, again
from ledger.verbs.base import Services
from runtime.reload import Switch
from runtime.settings.settings import Settings
from runtime.settings.sold import unrouted

WRITE_S = 20.0  # for a database that is away while a ledger switches
WRITE_AGAIN_S = 0.5


def today_utc() -> date:
    """The day that prices go by."""
    return datetime.now(UTC).date()


def catalogue_of(settings: Settings) -> Catalogue:
    """What these settings sell today, with its version. Raises SettingsError for what cannot be sold."""
    today = today_utc()
    models = priced(settings, today)
    elsewhere = tuple(unrouted(settings, {model.id for model in models}, today))
    made = Catalogue(models, pool_regions(settings.pools), settings.aliases, elsewhere)
    _ = made.version  # it takes a while, and whoever asks for it has none
    return made


def providers_of(settings: Settings) -> dict[str, str]:
    """The provider of each pool, by name."""
    return {pool.name: pool.provider for pool in settings.pools}


async def prepare(services: Services, settings: Settings) -> Switch:
    """Makes the catalogue of new settings, beside the loop. Raises SettingsError for what cannot be sold."""
    sold = await asyncio.to_thread(catalogue_of, settings)
    found = await asyncio.to_thread(changes, services.committer.catalogue, sold)
    return partial(_switch, services, settings, sold, found)


async def _switch(services: Services, settings: Settings, sold: Catalogue, found: Changes) -> None:
    # Holds keep the price rows that they name: those stay in the books, and are read from there when they are needed.
    until = time.monotonic() + WRITE_S
    while True:
        try:
            await again(lambda: write_changes(services.store, found, settings.pools))
            break
        except StoreDown:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(WRITE_AGAIN_S)
    sold.surprises = services.committer.catalogue.surprises
    services.committer.catalogue = sold
    services.providers.clear()
    services.providers.update(providers_of(settings))
    services.issuing.billing = settings.billing
