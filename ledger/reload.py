"""Owns how settings become what a ledger sells, at its start and while it runs."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import partial

import msgspec
from msgspec import Struct, structs

from ledger.commits.newest import Newest, body_of, generation_in, is_older, newest_in, selling, take
from ledger.commits.opening import Changes, changes, write_all, write_prices, write_some
from ledger.commits.pepper import Peppers, adopt, kept_in
from ledger.openid import signing
from ledger.prices.listed import priced
from ledger.prices.offers import Catalogue
from ledger.prices.reach import pool_regions
from ledger.store.base import Store, StoreDown, StoreError, again
from ledger.verbs.base import Services
from runtime.log import get_logger
from runtime.reload import Switch
from runtime.settings.settings import Settings, SettingsError
from runtime.settings.sold import unrouted

WRITE_S = 20.0  # for a database that is away while a ledger switches
WRITE_AGAIN_S = 0.5
FOLLOW_S = 1.0  # between two looks at whether another ledger has a newer configuration
_logger = get_logger("ledger.reload")


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


def peppers_of(settings: Settings) -> Peppers:
    """The peppers of a ledger, the one that is wanted first. Raises SettingsError if there is none."""
    if not settings.pepper:
        raise SettingsError("[ledger] pepper: is needed; keys are hashed with it")
    return Peppers([one.encode() for one in (settings.pepper, *settings.former_peppers)])


class Sale(Struct, frozen=True):
    """What a ledger sells: by which settings, as which catalogue, and which of the books' configurations that is."""

    settings: Settings
    sold: Catalogue
    newest: Newest


async def open_sale(store: Store, settings: Settings) -> Sale:
    """What a ledger sells from its start: its own settings, or where those are older, what the books' newest say.

    Raises SettingsError for what cannot be sold.
    """
    sold, body = catalogue_of(settings), body_of(settings)
    newest = await again(lambda: _opened(store, settings, sold, body))
    if newest.body == body:
        return Sale(settings, sold, newest)
    _logger.warning(
        "the configuration is older than that of another ledger, which is sold instead",
        **_both(settings, newest),
    )
    theirs = _selling(settings, newest)
    return Sale(theirs, catalogue_of(theirs), newest)


async def _opened(store: Store, settings: Settings, sold: Catalogue, body: str) -> Newest:
    async with store.write() as tx:
        newest = await take(tx, settings.generation, body)
        if newest.body == body:
            await write_all(tx, sold.sorted, settings.pools)
    return newest


def _both(settings: Settings, newest: Newest) -> dict[str, str]:
    return {"file": settings.source, "own": settings.generation.told, "newest": newest.generation.told}


def _selling(settings: Settings, newest: Newest) -> Settings:
    try:
        return selling(settings, newest.body)
    except msgspec.MsgspecError:
        raise SettingsError(
            f"{settings.source}: the books' newest configuration cannot be read: upgrade this ledger, or bring the newest file here"
        ) from None


def _older(settings: Settings, newest: Newest) -> SettingsError:
    return SettingsError(
        f"{settings.source}: is older than what another ledger of these books has taken ({settings.generation.told}; "
        f"theirs: {newest.generation.told}): bring the newest file here, or give this one a higher [reload] generation"
    )


class Reloading:
    """A ledger's change from one sale to another: by a reload of its own file, and after another ledger's."""

    def __init__(self, services: Services, sale: Sale) -> None:
        self._services = services
        self._sale = sale
        self._own = sale.settings  # of its own file, or what stands for it
        self._turn = asyncio.Lock()

    async def prepare(self, settings: Settings) -> Switch:
        """Makes the catalogue of new settings, beside the loop.

        Raises SettingsError for what cannot be sold, and for settings that are older than the books' newest.
        """
        signing.check(settings)
        body, peppers = await asyncio.to_thread(body_of, settings), peppers_of(settings)
        with contextlib.suppress(StoreDown):  # the switch asks again
            adopt(peppers, await kept_in(self._services.store) or peppers.wanted)
            newest = await newest_in(self._services.store.fetch)
            if newest is not None and is_older(settings.generation, body, newest):
                raise _older(settings, newest)
        sold = await asyncio.to_thread(catalogue_of, settings)
        return partial(self._take, settings, sold, body, peppers)

    async def _take(self, settings: Settings, sold: Catalogue, body: str, peppers: Peppers) -> None:
        # Holds keep the price rows that they name: those stay in the books, and are read from there when they are needed.
        async with self._turn:
            found = await asyncio.to_thread(changes, self._services.committer.catalogue, sold)
            newest = await self._written(partial(self._write, settings, found, body))
            if newest.body != body:
                raise _older(settings, newest)
            self._switch(Sale(settings, sold, newest))
            self._own = self._services.configured.settings = settings
            self._services.signing.take(settings.console.oidc)
            if self._services.payments is not None:
                self._services.payments.return_to(settings.console.url)
            committer = self._services.committer
            adopt(
                peppers,
                committer.peppers.current if peppers.knows(committer.peppers.current) else peppers.wanted,
            )
            committer.peppers = peppers

    async def _write(self, settings: Settings, found: Changes, body: str) -> Newest:
        async with self._services.store.write() as tx:
            newest = await take(tx, settings.generation, body)
            if newest.body == body:
                await write_some(tx, found, settings.pools)
        return newest

    async def _written(self, write: Callable[[], Awaitable[Newest]]) -> Newest:
        until = time.monotonic() + WRITE_S
        while True:
            try:
                return await again(write)
            except StoreDown:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(WRITE_AGAIN_S)

    def _switch(self, sale: Sale) -> None:
        services, self._sale = self._services, sale
        sale.sold.surprises = services.committer.catalogue.surprises
        services.committer.catalogue = sale.sold
        services.providers.clear()
        services.providers.update(providers_of(sale.settings))
        services.issuing.billing = sale.settings.billing

    async def follow(self) -> None:
        """Looks each FOLLOW_S whether another ledger has taken a newer configuration, and sells that; until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                await self._look()
            except StoreError as error:
                _logger.debug("whether there is a newer configuration is not known", error=str(error))
            except SettingsError as error:
                _logger.error("another ledger's newer configuration cannot be sold here", error=str(error))  # noqa: TRY400  the reason is all there is

    async def _look(self) -> None:
        services = self._services
        if await generation_in(services.store.fetch) <= self._sale.newest.generation:
            return
        async with self._turn:
            newest = await newest_in(services.store.fetch)
            if newest is None or newest.generation <= self._sale.newest.generation:
                return
            if newest.body == self._sale.newest.body:
                self._sale = structs.replace(self._sale, newest=newest)
                return
            try:
                settings = _selling(self._own, newest)
                sold = await asyncio.to_thread(catalogue_of, settings)
            except SettingsError:
                self._sale = structs.replace(self._sale, newest=newest)  # it is said once
                raise
            found = await asyncio.to_thread(changes, services.committer.catalogue, sold)
            async with services.store.write() as tx:
                await write_prices(
                    tx, found.prices
                )  # of another version they may be others than that ledger's
            self._switch(Sale(settings, sold, newest))
        _logger.warning(
            "another ledger has a newer configuration: it is sold here too", **_both(self._own, newest)
        )
