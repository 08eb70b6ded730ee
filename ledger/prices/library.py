"""Owns where prices come from: a model's own rows, else the price library's for exactly its upstream id, else refusal.

The library is looked up in a process of its own, so that a long-lived ledger does not keep it in memory.
"""

import asyncio
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from runtime.catalogue.presets import presets
from runtime.settings.settings import Settings, SettingsError
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier, check_price, price_on

_TIMEOUT_S = 60.0
_CLASSES = {  # the library's names of our token classes
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_long": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
}
_SERVICE_TIERS = ("flex", "priority")
_ALWAYS = date(1970, 1, 1)
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Asked(Struct, frozen=True, array_like=True):
    """A model to look up, by the provider's own id."""

    provider: str
    upstream: str


_decode_asked = msgspec.json.Decoder(tuple[Asked, ...]).decode
_decode_found = msgspec.json.Decoder(tuple[tuple[Price, ...], ...]).decode


async def priced(settings: Settings, today: date) -> tuple[Model, ...]:
    """The models of the configured pools and the rest of the catalogue, each with its prices.

    Raises SettingsError for a configured pool's model without a price in force, a context or an output limit.
    """
    asked = tuple(
        sorted({(m.provider, m.upstream) for m in settings.models if not m.prices and _source(m.provider)})
    )
    found: dict[tuple[str, str], tuple[Price, ...]] = {}
    if asked:
        found = dict(zip(asked, await _look_up_apart(asked), strict=True))
    models = []
    for model in settings.models:
        prices = model.prices or found.get((model.provider, model.upstream), ())
        why = _problem(model, prices, today)
        if why:
            raise SettingsError(f"{settings.source}: [[models]] id {model.id!r}: {why}")
        models.append(structs.replace(model, prices=prices))
    return tuple(models)


def _source(provider: str) -> str:
    preset = presets().get(provider)
    return preset.price_source if preset is not None else ""


def _problem(model: Model, prices: tuple[Price, ...], today: date) -> str:
    if not prices:
        return f"no price is known for {model.upstream!r}: set `input` and `output`"
    if price_on(prices, today) is None:
        return "none of its prices is in force yet"
    for price in prices:
        problem = check_price(price)
        if problem is not None:
            return problem
    if model.context <= 0 or model.max_output <= 0:
        return "set `context` and `max_output`: what cannot be bounded cannot be sold"
    if not model.rate.is_finite() or model.rate < 0:
        return "its `rate` must not be negative"
    return ""


async def _look_up_apart(asked: tuple[tuple[str, str], ...]) -> tuple[tuple[Price, ...], ...]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ledger.prices.library",
        cwd=str(Path(__file__).parents[2]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, problem = await process.communicate(_encode(asked))
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"the price library failed: {problem.decode(errors='replace')[-2000:]}")
    return _decode_found(output)


def look_up(asked: Asked) -> tuple[Price, ...]:
    """The library's dated price rows of exactly this id; none if it has no such id, or prices by the hour."""
    from genai_prices import data_snapshot  # noqa: PLC0415  heavy: only ever imported here

    wanted = _source(asked.provider)
    for provider in data_snapshot.get_snapshot().providers:
        if provider.id == wanted:
            exact = [model for model in provider.models if model.id == asked.upstream]
            # An alias that the library spells out is exact too; its patterns are not.
            exact += [model for model in provider.models if asked.upstream in _spelled_out(model.match)]
            return _rows(asked, exact[0]) if exact else ()
    return ()


def _spelled_out(clause: Any) -> list[str]:
    equals = getattr(clause, "equals", None)
    if equals is not None:
        return [equals]
    return [text for inner in getattr(clause, "or_", ()) for text in _spelled_out(inner)]


def _rows(asked: Asked, model: Any) -> tuple[Price, ...]:
    dated: dict[date, Any] = {}
    if not isinstance(model.prices, list):
        dated[_ALWAYS] = model.prices
    else:
        for conditional in model.prices:
            if conditional.constraint is None:
                dated[_ALWAYS] = conditional.prices
            elif hasattr(conditional.constraint, "start_date"):
                dated[conditional.constraint.start_date] = conditional.prices
            else:
                return ()  # prices by the hour: nothing that a hold could be pinned to
    rows = []
    for effective, prices in sorted(dated.items()):
        tiers = _tiers(prices)
        if not tiers:
            return ()
        rows.append(
            Price(
                id=f"genai-prices:{asked.provider}:{asked.upstream}:{effective}",
                tiers=tiers,
                effective=effective,
                uplifts=_uplifts(prices, model.price_variants or ()),
                request=(getattr(prices, "requests_kcount", None) or Decimal(0)) / 1000,
            )
        )
    return tuple(rows)


def _tiers(prices: Any) -> tuple[PriceTier, ...]:
    values = {name: getattr(prices, key, None) for name, key in _CLASSES.items()}
    if values["input"] is None or values["output"] is None:
        return ()
    starts = sorted({0} | {tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    return tuple(
        PriceTier(above=start, **{name: _at(value, start) for name, value in values.items()})
        for start in starts
    )


def _at(value: Any, start: int) -> Any:
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= start and start > 0]
    return reached[-1] if reached else value.base


def _uplifts(prices: Any, variants: Any) -> dict[str, Decimal]:
    """Factors of service tiers, where one factor gives all of the variant's prices."""
    uplifts = {}
    for variant in variants:
        name = variant.when.get("service_tier")
        if name not in _SERVICE_TIERS or len(variant.when) != 1:
            continue
        pairs = [
            (getattr(prices, key, None), value)
            for key in _CLASSES.values()
            if isinstance(value := getattr(variant.prices, key, None), Decimal)
        ]
        factors = {value / base for base, value in pairs if isinstance(base, Decimal) and base}
        if len(factors) == 1 and len(pairs) > 1:
            uplifts[name] = factors.pop()
    return uplifts


if __name__ == "__main__":
    sys.stdout.buffer.write(_encode([look_up(one) for one in _decode_asked(sys.stdin.buffer.read())]))
