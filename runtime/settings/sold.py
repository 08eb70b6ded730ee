"""Owns what a deployment sells: the models of its settings, and the built-in rows of its pools' presets under their names."""

from collections.abc import Collection, Iterator
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

from msgspec import structs

from runtime.catalogue.models import ids, rows
from runtime.catalogue.presets import presets, price_source
from runtime.settings.models import known_capabilities, stops_at
from runtime.settings.pools import PoolSettings, own_pools
from schemas.catalogue.aliases import Alias
from schemas.catalogue.compatible import seeing
from schemas.catalogue.model import Lifecycle, Model
from schemas.catalogue.profiles import COMPATIBLE_PROFILE
from schemas.catalogue.row import Row
from schemas.catalogue.unrouted import Unrouted
from schemas.catalogue.vectors import vectors_of

_ROUTES: Final = frozenset(("chat", "completions"))  # what callers can ask any model for
_EMBEDDINGS: Final = "embeddings"  # and those that somebody here knows how to ask
# Families whose code asks for a service tier by its name, wherever a row has prices for one.
_TIERED: Final = frozenset(("gemini",))
_TIERS: Final = ("flex", "priority")


class Sale(Protocol):
    """What of the settings says what is sold."""

    @property
    def pools(self) -> tuple[PoolSettings, ...]:
        """The configured ones."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The settings' own."""

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """Names that stand for models, and so are no model's bare id."""

    @property
    def rate(self) -> Decimal:
        """Of what neither a pool nor a row has one for."""

    @property
    def builtin_rows(self) -> bool:
        """Whether the rows of the pools' presets are sold too."""


def sold(settings: Sale, today: date) -> Iterator[Model]:
    """Every model. Each pool sells its preset's rows as `pool/id`; the bare id is the first pool's that has it.

    What the settings say of an id, a model's or an alias's, goes before any row. Raises SettingsError if the file of rows is damaged.
    """
    return _sold(settings, settings.pools, today)


def _sold(settings: Sale, pools: tuple[PoolSettings, ...], today: date) -> Iterator[Model]:
    yield from settings.models
    if not settings.builtin_rows:
        return
    taken = {model.id for model in settings.models} | {alias.id for alias in settings.aliases}
    own = own_pools(pools)
    offered = [
        _model(row, pool, settings, today, own=pool.name in own)
        for pool in pools
        for row in rows(price_source(pool.provider)).values()
        if _can_be_called(row, today, own=pool.name in own)
    ]
    for named in (True, False):  # so that no vendor's own `a/b` takes the name that pool `a` gives its `b`
        for model in offered:
            name = model.id if named else model.upstream
            if name not in taken:
                taken.add(name)
                yield model if named else structs.replace(model, id=name)


def sold_by(settings: Sale, pool: PoolSettings, today: date) -> dict[str, Model]:
    """The models of one pool by id. Of other presets' rows only those are read that may take a name of its own."""
    own = ids(price_source(pool.provider))
    rivals = tuple(
        one
        for one in settings.pools
        if one.name == pool.name
        or not own.isdisjoint(ids(price_source(one.provider)))
        or any(name.startswith(f"{one.name}/") for name in own)
    )
    found = _sold(settings, rivals, today)
    return {model.id: model for model in found if model.pool == pool.name}


def unrouted(settings: Sale, sold_ids: Collection[str], today: date) -> Iterator[Unrouted]:
    """What the pools' presets sell by routes that callers cannot ask for, under all names that are not sold."""
    own = own_pools(settings.pools)
    found: dict[str, Unrouted] = {}
    for pool in settings.pools if settings.builtin_rows else ():
        for row in rows(pool.provider).values():
            if not _has_route(row) and not _is_gone(row, today, own=pool.name in own):
                for name in (f"{pool.name}/{row.id}", row.id):
                    if name not in sold_ids:
                        found.setdefault(name, Unrouted(name, row.mode))
    yield from (found[name] for name in sorted(found))


def _can_be_called(row: Row, today: date, *, own: bool) -> bool:
    """Whether there is a route for it, and it is not gone."""
    return _has_route(row) and not _is_gone(row, today, own=own)


def _has_route(row: Row) -> bool:
    return not _ROUTES.isdisjoint(row.mode) or (_EMBEDDINGS in row.mode and vectors_of(row.id) is not None)


def _is_gone(row: Row, today: date, *, own: bool) -> bool:
    """Whether its provider has shut it down: elsewhere its server decides."""
    return own and row.shutdown is not None and row.shutdown <= today


def _model(row: Row, pool: PoolSettings, settings: Sale, today: date, *, own: bool) -> Model:
    able = known_capabilities(pool.provider, row.id, own=own)
    if presets()[pool.provider].profile == COMPATIBLE_PROFILE and "image" in row.takes:
        able = seeing(able, row.context)
    tiers = able.service_tiers
    if pool.family in _TIERED:
        priced = {service for price in row.prices for service in price.services}
        tiers = tuple(tier for tier in _TIERS if tier in priced)
    stops = stops_at(row.max_output, row.context, own=own and not row.max_output_disputed)
    return Model(
        id=f"{pool.name}/{row.id}",
        pool=pool.name,
        upstream=row.id,
        provider=pool.provider,
        family=pool.family,
        context=row.context,
        max_output=0 if able.embeddings is not None else row.max_output,
        prices=row.priced(),
        rate=settings.rate if pool.rate is None else pool.rate,
        created=row.created,
        owned_by=row.preset,
        lifecycle=_lifecycle(row, today),
        shutdown_date=row.shutdown,
        successor=row.successor or None,
        capabilities=structs.replace(
            able,
            chat="chat" in row.mode,
            completions="completions" in row.mode,
            needs_limit=not stops,
            service_tiers=tiers,
        ),
    )


def _lifecycle(row: Row, today: date) -> Lifecycle:
    if row.shutdown is None:
        return Lifecycle.ACTIVE
    return Lifecycle.RETIRED if row.shutdown <= today else Lifecycle.DEPRECATED
