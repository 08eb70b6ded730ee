"""Owns the edge's copy of the catalogue, and how a model is described to callers."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from msgspec import structs

from edge.calls.roster import Roster
from edge.limits import Limits
from runtime.bus.bus import BusError
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.catalogue.model import Model
from schemas.catalogue.shown import pricing
from schemas.catalogue.standing import standing
from schemas.catalogue.unrouted import Unrouted
from schemas.money.pricing import price_on
from schemas.verbs.catalogue import CATALOGUE, CatalogueQuery

PAGES_MAX = 1_000  # of one reading
_logger = get_logger("edge.catalogue")


class Catalogue:
    """The models as the ledger prices them, at most `catalogue_s` old while a ledger answers."""

    def __init__(self, ledger: LedgerClient, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._models: dict[str, Model] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._unrouted: dict[str, Unrouted] = {}
        self._sorted: list[Model] = []
        self.version = ""  # of what is here; "" from a ledger of the version before
        self.generation = 0  # how often it has changed
        self._loop = asyncio.get_running_loop()
        self._loaded = 0.0
        self._loading: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        """Whether it has been read at all."""
        return bool(self._loaded)

    def models(self) -> list[Model]:
        """Every model, by id."""
        return self._sorted

    def stands_for(self, name: str) -> tuple[str, ...]:
        """The ids that an alias stands for; none for what is no alias."""
        return self._aliases.get(name, ())

    def unrouted(self, name: str) -> Unrouted | None:
        """A model that is known, and that no route of this gateway serves."""
        return self._unrouted.get(name)

    def known(self, name: str) -> Model | None:
        """A model's row, if it is already known."""
        return self._models.get(name)

    def aliases(self) -> list[str]:
        """Every alias, by id."""
        return sorted(self._aliases)

    async def find(self, name: str) -> Model | None:
        """A model's row; an unknown name has the catalogue read again, at most once in `catalogue_gap_s`."""
        model = self._models.get(name)
        if model is None and name not in self._aliases and name not in self._unrouted:
            await self._look_again()
            model = self._models.get(name)
        return model

    async def expand(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The ids that some names stand for, in their order and none twice; an unknown name stands for itself."""
        if len(names) == 1 and names[0] in self._models:
            return names
        found: dict[str, None] = {}
        for name in names:
            await self.find(name)
            found.update(dict.fromkeys(self._aliases.get(name, (name,))))
        return tuple(found)

    async def _look_again(self) -> None:
        if time.monotonic() - self._loaded > self._limits.catalogue_gap_s:
            try:
                await asyncio.shield(self._load())
            except LedgerAwayError:
                if not self._loaded:
                    raise

    def refresh(self, now: float) -> None:
        """Reads it again in the background if it has become old."""
        if now - self._loaded > self._limits.catalogue_s:
            self._load()

    def renew(self) -> asyncio.Task[None]:
        """Reads it again, after a reading that is under way: that may have missed what is new."""
        return self._loop.create_task(self._renew())

    async def _renew(self) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        await asyncio.wait([self._load()])

    def _load(self) -> asyncio.Task[None]:
        if self._loading is None or self._loading.done():
            self._loading = self._loop.create_task(self._read())
            self._loading.add_done_callback(_say_failure)
        return self._loading

    async def _read(self) -> None:
        reply = await self._ledger.ask(CATALOGUE, CatalogueQuery(known=self.version))
        if not (reply.version and reply.version == self.version):
            models, version = list(reply.models), reply.version
            aliases = {alias.id: alias.models for alias in reply.aliases}
            unrouted = {model.id: model for model in reply.unrouted}
            for _ in range(PAGES_MAX):
                if not reply.cursor:
                    break
                reply = await self._ledger.ask(CATALOGUE, CatalogueQuery(known="", after=reply.cursor))
                if reply.version != version:
                    return  # another ledger answered, with another catalogue: the next tick reads it whole
                models += reply.models
            self._take(models, version, aliases)
            self._unrouted = unrouted
        self._loaded = time.monotonic()

    def _take(self, models: list[Model], version: str, aliases: dict[str, tuple[str, ...]]) -> None:
        found = {model.id: model for model in models}
        if version or (found, aliases) != (self._models, self._aliases):
            self._models, self._aliases, self.version = found, aliases, version
            self._sorted = [found[name] for name in sorted(found)]
            self.generation += 1

    async def close(self) -> None:
        """Ends a read under way."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])


def _say_failure(task: asyncio.Task[None]) -> None:
    """The next tick retries a failed background read. A ledger that is away is what a caller who awaits it hears of."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, BusError):
        _logger.error("the catalogue cannot be read", exc_info=error)


def alias_entry(
    catalogue: Catalogue, serves: Callable[[Model], bool], entry: Callable[[Model], dict[str, Any]], name: str
) -> dict[str, Any] | None:
    """An alias as it is listed: the entry of its first model that can be served now, under its own id, and `models`.

    None if it is no alias, or none of its models can be served.
    """
    ids = catalogue.stands_for(name)
    for model in map(catalogue.known, ids):
        if model is not None and serves(model):
            return entry(model) | {"id": name, "display_name": name, "models": list(ids)}
    return None


def describe(model: Model, roster: Roster, day: dt.date) -> dict[str, Any]:
    """One entry of the list: OpenAI's fields and Anthropic's, and beside them what a buyer wants to know on a day."""
    fact = roster.fact(model.pool, model.upstream)
    stands = standing(model, fact, day)
    lower = fact.max_output if fact is not None and not model.pinned else 0
    max_output = min(lower or model.max_output, model.max_output)
    entry: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by or model.provider,
        "type": "model",
        "display_name": model.id,
        "created_at": f"{dt.datetime.fromtimestamp(model.created, dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "max_input_tokens": model.context,
        "max_tokens": max_output,
        "shutdown_date": stands.shutdown.isoformat() if stands.shutdown else None,
        "provider": model.provider,
        "pool": model.pool,
        "lifecycle": stands.lifecycle.value,
        "successor": model.successor,
        "context_window": model.context,
        "max_output_tokens": max_output,
        "capabilities": {
            name: value
            for name, value in structs.asdict(model.capabilities).items()
            if name not in ("overhead_tokens", "limit_field", "needs_limit")
        },
    }
    if roster.unlisted(model.pool, model.id):
        entry["unlisted"] = True
    price = price_on(model.prices, day)
    if price is not None:
        entry["pricing"] = pricing(price, model.rate)
    return entry
