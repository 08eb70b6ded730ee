"""Owns `[[models]]` rows: how a file adds to the built-in catalogue and replaces its rows."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, structs

from runtime.catalogue.presets import presets, price_source
from runtime.settings.pools import PoolSettings, forwarded, own_pools, read_hangup, read_rate
from runtime.toml import Table
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import COUNTS, Capabilities, Lifecycle, Model
from schemas.catalogue.profiles import COMPATIBLE_PROFILE, PICTURE_TOKENS_MAX, profiled
from schemas.catalogue.regions import REGIONAL
from schemas.catalogue.row import Row
from schemas.money.pricing import Price, PriceTier, check_price

_ID_MAX = 256
_BUILTIN = {(model.provider, model.upstream): model for model in BUILTIN}
ROUTES = frozenset(("chat", "responses", "completions"))  # what callers can ask a model for
# The names in a file, and the token classes they price.
_CLASSES = {
    "cached_input": "cached",
    "cache_write": "cache_write",
    "cache_write_long": "cache_write_long",
    "cache_write_1h": "cache_write_long",  # its older name
    "cached_audio": "cached_audio",
    "input_audio": "input_audio",
    "reasoning": "reasoning",
    "output_audio": "output_audio",
}


class _Row(Struct, frozen=True, kw_only=True):
    """What one row says: a model, its own rate, and whether the bound of its pictures is nobody's word."""

    model: Model
    rate: Decimal | None
    guessed_pictures: bool


def catalogue(
    rows: list[Table], pools: tuple[PoolSettings, ...], rate: Decimal
) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """The built-in models and a file's rows, each at its own rate: the row's, else its pool's, else the general one.

    `pools` are the configured ones. A built-in model is its own pool's, else that of the first pool of its preset; one
    without either stays: it has a row, but no worker.
    The second is the ids of models whose pictures are bounded by PICTURE_TOKENS_MAX for want of a known bound.
    """
    by_name = {pool.name: pool for pool in pools}
    rates = {pool.name: pool.rate for pool in pools}
    own_addresses = own_pools(pools)
    models: dict[str, Model] = {}
    for model in BUILTIN:
        pool = by_name.get(model.pool) or next((one for one in pools if one.provider == model.provider), None)
        served = _served(model, pool, own_addresses)
        models[model.id] = structs.replace(served, rate=_first(rates.get(served.pool), rate))
    own: set[str] = set()
    guessed: list[str] = []
    for table in rows:
        row = _row(table, models, by_name, own_addresses)
        model = row.model
        if model.id in own:
            raise table.problem("id", f"{model.id!r} has two rows")
        own.add(model.id)
        models[model.id] = structs.replace(model, rate=_first(row.rate, rates.get(model.pool), rate))
        if row.guessed_pictures:
            guessed.append(model.id)
    return tuple(models.values()), tuple(guessed)


def _served(model: Model, pool: PoolSettings | None, own_addresses: frozenset[str]) -> Model:
    """A built-in model as its pool serves it; another server than the vendor's need not stop where the vendor does."""
    if pool is None:
        return model
    stops = _stops(
        pool.provider, model.upstream, model.context, model.max_output, own=pool.name in own_addresses
    )
    capabilities = structs.replace(model.capabilities, needs_limit=not stops)
    return structs.replace(
        model,
        pool=pool.name,
        provider=pool.provider,
        family=pool.family,
        capabilities=capabilities,
        forwards=forwarded(pool, own=pool.name in own_addresses),
        dated=pool.name in own_addresses,
    )


def _first(*rates: Decimal | None) -> Decimal:
    return next(rate for rate in rates if rate is not None)


def _row(
    row: Table, known: dict[str, Model], pools: dict[str, PoolSettings], own_addresses: frozenset[str]
) -> _Row:
    model_id = row.needed("id")
    if len(model_id) > _ID_MAX or not model_id.isprintable() or model_id != model_id.strip():
        raise row.problem("id", f"must be at most {_ID_MAX} printable characters")
    base = known.get(model_id)
    pool = row.text("pool", base.pool if base else "")
    if not pool:
        raise row.problem("pool", "is needed")
    if pool not in pools:
        raise row.problem(
            "pool", f"{pool!r} is not a pool; add [pools.{pool}] or name one of: {_names(pools)}"
        )
    provider = pools[pool].provider
    upstream = row.text("upstream", base.upstream if base else model_id)
    # What was said of another upstream model says nothing about this one.
    kept = base if base is not None and base.upstream == upstream and base.provider == provider else None
    named = _base_row(row, provider)
    context = row.integer("context", named.context if named else base.context if base else None)
    capabilities = (
        kept.capabilities if kept else known_capabilities(provider, upstream, own=pool in own_addresses)
    )
    unsaid = None if capabilities.embeddings is None else 0  # vectors are no output
    known_max = named.max_output if named else base.max_output if base else unsaid
    max_output = row.integer("max_output", known_max)
    if context is None or max_output is None:
        key = "context" if context is None else "max_output"
        raise row.problem(key, f"is needed: the model {model_id!r} cannot be bounded without it")
    capabilities = structs.replace(
        capabilities,
        needs_limit=not _stops(provider, upstream, context, max_output, own=pool in own_addresses),
    )
    if named:
        capabilities = row_capabilities(
            named, provider, own=pool in own_addresses and max_output >= named.max_output
        )
    if limit_field := row.text("limit_field"):
        capabilities = structs.replace(capabilities, limit_field=limit_field)
    capabilities, guessed_pictures = _capabilities(row.table("capabilities"), capabilities)
    lifecycle = _lifecycle(row, kept)
    prices = _prices(row, upstream) or (row_prices(named, provider) if named else kept.prices if kept else ())
    if not prices and not price_source(provider):
        raise row.problem(
            "input",
            f"is needed, with output: nobody lists prices of {provider}, and free is only what says 0",
        )
    model = Model(
        id=model_id,
        pool=pool,
        upstream=upstream,
        provider=provider,
        family=pools[pool].family,
        context=context,
        max_output=max_output,
        prices=prices,
        created=row.integer("created", base.created if base else 0, least=0) or 0,
        owned_by=row.text("owned_by", base.owned_by if base else provider),
        lifecycle=lifecycle,
        shutdown_date=row.day("shutdown_date") or (kept.shutdown_date if kept else None),
        successor=row.text("successor") or (kept.successor if kept else None),
        capabilities=capabilities,
        forwards=forwarded(pools[pool], own=pool in own_addresses),
        pinned=True,
        on_hangup=read_hangup(row),
        count=_count(row),
    )
    rate = read_rate(row)
    row.done()
    return _Row(model=model, rate=rate, guessed_pictures=guessed_pictures)


def _base_row(row: Table, provider: str) -> Row | None:
    """The catalogue's row that a deployment is one of, where a table names it."""
    name = row.text("base_model")
    if not name:
        return None
    from runtime.catalogue.models import rows  # noqa: PLC0415  only files with deployments need the rows here

    sources = presets()[provider].base_rows or (provider,)
    found = next((one for one in (rows(source).get(name) for source in sources) if one is not None), None)
    if found is None:
        raise row.problem("base_model", f"{name!r} is no row of the catalogue for {' or '.join(sources)}")
    if ROUTES.isdisjoint(found.mode):
        raise row.problem(
            "base_model", f"{name!r} is for {', '.join(found.mode)}, for which there is no route"
        )
    return found


def row_capabilities(row: Row, provider: str, *, own: bool) -> Capabilities:
    """What a model of a catalogue's row can do; `own` says that it is at the address of its vendor itself."""
    stops = stops_at(row.max_output, row.context, own=own and not row.max_output_disputed)
    # A row's id may begin with the zone that its price is for, or with the publisher.
    preset = presets()[provider]
    upstream = row.id.rpartition("/")[2] if preset.base_rows or preset.upstream_prefix else row.id
    return structs.replace(
        known_capabilities(provider, upstream, own=own),
        chat="chat" in row.mode,
        completions="completions" in row.mode,
        needs_limit=not stops,
        # Of the models that their own server judges, rows say no more than this.
        reasons=preset.profile == COMPATIBLE_PROFILE and bool(row.efforts) and "none" not in row.efforts,
    )


def row_prices(row: Row, provider: str) -> tuple[Price, ...]:
    """What a model of a catalogue's row costs, with the factor of its vendor's regions."""
    factor = presets()[provider].regional_factor
    if factor is None:
        return row.priced()
    return tuple(
        structs.replace(price, uplifts={REGIONAL: factor, **price.uplifts}) for price in row.priced()
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"


def _builtin(provider: str, upstream: str) -> Model | None:
    return _BUILTIN.get((provider, upstream))


def _stops(provider: str, upstream: str, context: int, max_output: int, *, own: bool) -> bool:
    """Whether an upstream that is told no limit is known to stop at `max_output`: at its own, or at its context's end.

    `own` says that its pool is at the address of the vendor itself: only there a built-in maximum is the upstream's.
    """
    builtin = _builtin(provider, upstream)
    return stops_at(max_output, context, own=own and builtin is not None and max_output >= builtin.max_output)


def stops_at(max_output: int, context: int, *, own: bool) -> bool:
    """The same, where `own` says that the maximum is the upstream's own word."""
    return own or max_output >= context


def known_capabilities(provider: str, upstream: str, *, own: bool) -> Capabilities:
    """What a model can do unless its row says otherwise: what is known of it at this vendor, else its preset's profile.

    `own` says that its pool is at the address of the vendor itself.
    """
    builtin = _builtin(provider, upstream)
    if builtin is not None:
        return builtin.capabilities
    preset = presets()[provider]
    able = profiled(preset.profile, upstream)
    # A vendor's own models may refuse the name that other servers alone know; a compatible vendor, and a profile of
    # another wire, has one for all.
    one_name = preset.profile == COMPATIBLE_PROFILE or preset.profile != preset.family
    named = preset.limit_field and (one_name or (able.guessed and own))
    return structs.replace(able, limit_field=preset.limit_field) if named else able


def _count(row: Table) -> str:
    said = row.text("count")
    if said and said not in COUNTS:
        raise row.problem("count", f"{said!r} is not one of: {', '.join(COUNTS)}")
    return said


def _lifecycle(row: Table, kept: Model | None) -> Lifecycle:
    text = row.text("lifecycle")
    if not text:
        return kept.lifecycle if kept else Lifecycle.ACTIVE
    try:
        return Lifecycle(text)
    except ValueError:
        raise row.problem("lifecycle", f"must be one of: {', '.join(Lifecycle)}") from None


def _capabilities(table: Table, base: Capabilities) -> tuple[Capabilities, bool]:
    """What a row says a model can do, over `base`; and whether the bound of its pictures is nobody's word."""
    changes: dict[str, Any] = {}
    for field in structs.fields(Capabilities):
        if not table.has(field.name):
            continue
        if field.type is bool:
            changes[field.name] = table.boolean(field.name, default=False)
        elif field.type is int:
            changes[field.name] = table.integer(field.name, None, least=0)
        elif field.type is str:
            changes[field.name] = table.text(field.name)
        else:
            changes[field.name] = _other(table, field)
    table.done()
    if "image_tokens_max" in changes:  # whoever bounds pictures means them to be taken
        changes.setdefault("images", changes["image_tokens_max"] > 0)
        changes.setdefault("pictures", None)  # a bound of the row's own is used as it is, whatever the size
    able = structs.replace(base, **changes)
    if not able.images:
        return structs.replace(able, image_tokens_max=0), False
    if able.image_tokens_max or "image_tokens_max" in changes:
        return able, False
    return structs.replace(able, image_tokens_max=PICTURE_TOKENS_MAX), True


def _other(table: Table, field: structs.FieldInfo) -> object:
    value = table.take_any(field.name)
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        raise table.problem(field.name, str(error)) from None


def _prices(row: Table, upstream: str) -> tuple[Price, ...]:
    """A row's prices: flat in the row, or one `[[models.prices]]` a date; () for neither."""
    tables = row.tables("prices")
    flat = _tier(row, flat=True)
    if flat is not None and tables:
        raise row.problem("prices", "stand beside input or output: a row has one or the other")
    if flat is not None:
        request = row.decimal("request") or Decimal(0)
        return (_checked(row, Price(id=f"file:{upstream}", tiers=(flat,), request=request)),)
    prices = [_dated(table, upstream) for table in tables]
    if len({price.effective for price in prices}) != len(prices):
        raise row.problem("prices", "have two rows of one date")
    return tuple(prices)


def _dated(table: Table, upstream: str) -> Price:
    effective = table.day("effective")
    tiers = [_tier(tier, flat=False) for tier in table.tables("tiers")]
    if not tiers:
        tiers = [_tier(table, flat=False)]
    uplifts_table = table.table("uplifts")
    uplifts = {key: uplifts_table.decimal(key, most=100) or Decimal(0) for key in uplifts_table.keys()}  # noqa: SIM118  a Table is not a dict
    services_table = table.table("services")
    services = {key: _service(services_table.table(key)) for key in services_table.keys()}  # noqa: SIM118  as above
    request = table.decimal("request") or Decimal(0)
    price = Price(
        id=f"file:{upstream}" + (f":{effective}" if effective else ""),
        tiers=tuple(tier for tier in tiers if tier is not None),
        uplifts=uplifts,
        services=services,
        request=request,
    )
    if effective is not None:
        price = structs.replace(price, effective=effective)
    table.done()
    return _checked(table, price)


def _service(table: Table) -> tuple[PriceTier, ...]:
    """The prices of one service tier: flat in its table, or in tiers."""
    tiers = [_tier(tier, flat=False) for tier in table.tables("tiers")] or [_tier(table, flat=False)]
    table.done()
    return tuple(tier for tier in tiers if tier is not None)


def _checked(table: Table, price: Price) -> Price:
    if why := check_price(price):
        raise table.problem("tiers", why)
    return price


def _tier(table: Table, *, flat: bool) -> PriceTier | None:
    """The prices in a table; None for a row that has none of its own."""
    own: dict[str, Decimal] = {}
    for key, name in _CLASSES.items():
        if (value := table.decimal(key)) is not None:
            if name in own:
                raise table.problem(key, f"is {name} by its older name: a table has one of them")
            own[name] = value
    prices = {key: table.decimal(key) for key in ("input", "output")}
    if flat and not own and prices["input"] is None and prices["output"] is None:
        return None
    for key, price in prices.items():
        if price is None:
            raise table.problem(key, "is needed beside the other prices")
    above = 0 if flat else table.integer("above", 0, least=0) or 0
    if not flat and table.place.endswith("tiers]"):
        table.done()
    return PriceTier(
        input=prices["input"] or Decimal(0), output=prices["output"] or Decimal(0), above=above, **own
    )
