"""Owns what a deployment sells: the models of its settings, and the built-in rows of its pools' presets under their names."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final, Protocol

from msgspec import structs

from runtime.catalogue.models import ids, rows
from runtime.catalogue.presets import presets
from runtime.settings.models import ROUTES, row_capabilities, row_prices
from runtime.settings.pools import PoolSettings, forwarded, own_pools, responses_pools
from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.compatible import seeing
from schemas.catalogue.model import Lifecycle, Model
from schemas.catalogue.profiles import COMPATIBLE_PROFILE
from schemas.catalogue.row import Row
from schemas.catalogue.spoken import speaks_responses
from schemas.catalogue.unrouted import Unrouted
from schemas.catalogue.vectors import vectors_of

_RESPONSES_ALONE: Final = ("responses",)
_EMBEDDINGS: Final = "embeddings"  # what is sold by it are those that somebody here knows how to ask
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
    return _spoken(_sold(settings, settings.pools, today), settings.pools)


def _sold(settings: Sale, pools: tuple[PoolSettings, ...], today: date) -> Iterator[Model]:
    yield from settings.models
    if not settings.builtin_rows:
        return
    taken = {model.id for model in settings.models} | {alias.id for alias in settings.aliases}
    own, speaking = own_pools(pools), responses_pools(pools)
    offered = [
        _model(row, pool, settings, today, own=pool.name in own)
        for pool in pools
        for row in _rows(pool.provider).values()
        if _can_be_called(row, today, own=pool.name in own)
        and (pool.name in speaking or row.mode != _RESPONSES_ALONE)
    ]
    for named in (True, False):  # so that no vendor's own `a/b` takes the name that pool `a` gives its `b`
        for model in offered:
            name = model.id if named else model.upstream
            if name not in taken:
                taken.add(name)
                yield model if named else structs.replace(model, id=name)


def retired(settings: Sale, taken: Collection[str], today: date) -> Iterator[Model]:
    """What the pools' own providers have shut down, under all names that are not taken: to be told of, never served."""
    own = own_pools(settings.pools)
    names = set(taken)
    for pool in settings.pools if settings.builtin_rows else ():
        for row in _rows(pool.provider).values() if pool.name in own else ():
            if ROUTES.isdisjoint(row.mode) or _can_be_called(row, today, own=True):
                continue
            model = _model(row, pool, settings, today, own=True)
            for name in (model.id, row.id):
                if name not in names:
                    names.add(name)
                    yield structs.replace(model, id=name)


def _spoken(models: Iterator[Model], pools: tuple[PoolSettings, ...]) -> Iterator[Model]:
    """The same models, of which those say so that are asked in the Responses dialect."""
    speaking = responses_pools(pools)
    for model in models:
        if model.pool in speaking and speaks_responses(model.upstream):
            able = structs.replace(model.capabilities, responses=True)
            yield structs.replace(model, capabilities=able)
        else:
            yield model


def sold_by(settings: Sale, pool: PoolSettings, today: date) -> dict[str, Model]:
    """The models of one pool by id. Of other presets' rows only those are read that may take a name of its own."""
    own = _ids(pool.provider)
    rivals = tuple(
        one
        for one in settings.pools
        if one.name == pool.name
        or not own.isdisjoint(_ids(one.provider))
        or any(name.startswith(f"{one.name}/") for name in own)
    )
    found = _spoken(_sold(settings, rivals, today), rivals)
    return {model.id: model for model in found if model.pool == pool.name}


def unrouted(settings: Sale, sold_ids: Collection[str], today: date) -> Iterator[Unrouted]:
    """What the pools' presets sell by routes that callers cannot ask for, under all names that are not sold."""
    own, speaking = own_pools(settings.pools), responses_pools(settings.pools)
    found: dict[str, Unrouted] = {}
    for pool in settings.pools if settings.builtin_rows else ():
        for row in _rows(pool.provider).values():
            unspoken = row.mode == _RESPONSES_ALONE and pool.name not in speaking
            if (unspoken or not _has_route(row)) and not _is_gone(row, today, own=pool.name in own):
                for name in (f"{pool.name}/{row.id}", row.id):
                    if name not in sold_ids:
                        found.setdefault(name, Unrouted(name, row.mode))
    yield from (found[name] for name in sorted(found))


@cache
def _rows(provider: str) -> Mapping[str, Row]:
    """The rows that are sold, under the names that the provider is asked for: none where it has deployments of them."""
    preset = presets()[provider]
    if preset.base_rows:
        return {}
    found = _dated(provider, rows(preset.price_source))
    if not preset.sells:
        return found
    prefix, begins = preset.upstream_prefix, preset.sells
    own = (row for row in found.values() if row.id.startswith(begins))
    return {prefix + row.id: _prefixed(row, prefix, begins) for row in own}


def _dated(provider: str, known: Mapping[str, Row]) -> Mapping[str, Row]:
    """The rows, with the dates of the public contract for those that the file no longer dates."""
    found = dict(known)
    for seed in BUILTIN:
        row = found.get(seed.upstream) if seed.provider == provider else None
        if row is not None and row.shutdown is None:
            named = row.successor or seed.successor or ""
            found[seed.upstream] = structs.replace(row, shutdown=seed.shutdown_date, successor=named)
    return found


def _prefixed(row: Row, prefix: str, begins: str) -> Row:
    successor = prefix + row.successor if row.successor.startswith(begins) else ""
    return structs.replace(row, id=prefix + row.id, successor=successor)


def _ids(provider: str) -> frozenset[str]:
    preset = presets()[provider]
    if preset.base_rows:
        return frozenset()
    found = ids(preset.price_source)
    return frozenset(preset.upstream_prefix + name for name in found if name.startswith(preset.sells))


def _can_be_called(row: Row, today: date, *, own: bool) -> bool:
    """Whether there is a route for it, and it is not gone."""
    return _has_route(row) and not _is_gone(row, today, own=own)


def _has_route(row: Row) -> bool:
    return not ROUTES.isdisjoint(row.mode) or (_EMBEDDINGS in row.mode and vectors_of(row.id) is not None)


def _is_gone(row: Row, today: date, *, own: bool) -> bool:
    """Whether its provider has shut it down: elsewhere its server decides."""
    return own and row.shutdown is not None and row.shutdown <= today


def _model(row: Row, pool: PoolSettings, settings: Sale, today: date, *, own: bool) -> Model:
    able = row_capabilities(row, pool.provider, own=own)
    if presets()[pool.provider].profile == COMPATIBLE_PROFILE and "image" in row.takes:
        able = seeing(able, row.context)
    tiers = able.service_tiers
    if pool.family in _TIERED:
        priced = {service for price in row.prices for service in price.services}
        tiers = tuple(tier for tier in _TIERS if tier in priced)
    return Model(
        id=f"{pool.name}/{row.id}",
        pool=pool.name,
        upstream=row.id,
        provider=pool.provider,
        family=pool.family,
        context=row.context,
        max_output=0 if able.embeddings is not None else row.max_output,
        prices=row_prices(row, pool.provider),
        rate=settings.rate if pool.rate is None else pool.rate,
        created=row.created,
        owned_by=row.preset,
        lifecycle=_lifecycle(row, today),
        shutdown_date=row.shutdown,
        successor=row.successor or None,
        forwards=forwarded(pool, own=own),
        dated=own,
        capabilities=structs.replace(able, service_tiers=tiers),
    )


def _lifecycle(row: Row, today: date) -> Lifecycle:
    if row.shutdown is None:
        return Lifecycle.ACTIVE
    return Lifecycle.RETIRED if row.shutdown <= today else Lifecycle.DEPRECATED
