"""Owns where prices come from: a model's own rows, else the catalogue's for exactly its upstream id, else refusal."""

from datetime import date

from msgspec import structs

from runtime.catalogue.models import rows
from runtime.catalogue.presets import price_source
from runtime.settings.settings import Settings, SettingsError
from runtime.settings.sold import retired, sold
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, check_price, price_on


def priced(settings: Settings, today: date) -> tuple[Model, ...]:
    """The models of the configured pools and the rest of the catalogue, each with its prices; also those that have ended.

    Raises SettingsError for a configured pool's model without a price in force, a context or an output limit.
    """
    models = []
    checked: dict[
        int, tuple[Price, ...]
    ] = {}  # by identity: a row under its two names has the very same prices
    every = list(sold(settings, today))
    for model in (*every, *retired(settings, {model.id for model in every}, today)):
        prices = model.prices or look_up(model.provider, model.upstream)
        why = _problem(model, prices, today) or ("" if id(prices) in checked else _unusable(prices))
        checked[id(prices)] = prices
        if why:
            raise SettingsError(f"{settings.source}: [[models]] id {model.id!r}: {why}")
        models.append(model if model.prices else structs.replace(model, prices=prices))
    return tuple(models)


def look_up(provider: str, upstream: str) -> tuple[Price, ...]:
    """The catalogue's dated price rows of exactly this id at this preset; none if it has no such id."""
    row = rows(price_source(provider)).get(upstream)
    return row.priced() if row is not None else ()


def _problem(model: Model, prices: tuple[Price, ...], today: date) -> str:
    if not prices:
        return f"no price is known for {model.upstream!r}: set `input` and `output`"
    if price_on(prices, today) is None:
        return "none of its prices is in force yet"
    able = model.capabilities
    needs_output = able.chat or able.completions or able.embeddings is None
    if model.context <= 0 or (model.max_output <= 0 and needs_output):
        return "set `context` and `max_output`: what cannot be bounded cannot be sold"
    if not model.rate.is_finite() or model.rate < 0:
        return "its `rate` must not be negative"
    return ""


def _unusable(prices: tuple[Price, ...]) -> str:
    return next((problem for price in prices if (problem := check_price(price)) is not None), "")
