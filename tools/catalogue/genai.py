"""Owns the first voice on money: the data of genai-prices, with its start dates and service tiers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from tools.catalogue.tables import Table, Tier, higher, plain
from tools.catalogue.voice import Dated, Voice

# Our presets and its providers.
PROVIDERS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "bedrock": "aws",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
    "zai": "zai",
}
_CLASSES: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_long": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
    "cached_audio": "cache_audio_read_mtok",
}
_ALWAYS: Final = date(1970, 1, 1)
_KINDS: Final = ("equals", "contains", "starts_with", "ends_with", "regex")


def kept(providers: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    """What is extracted of the package's own objects: by provider, the models with their clauses and prices."""
    wanted = set(PROVIDERS.values())
    return {
        provider.id: sorted(
            (_kept_model(model) for model in provider.models), key=lambda model: str(model["id"])
        )
        for provider in sorted(providers, key=lambda one: str(one.id))
        if provider.id in wanted
    }


def _kept_model(model: Any) -> dict[str, Any]:
    prices = model.prices if isinstance(model.prices, list) else [model.prices]
    return {
        "id": model.id,
        "context": model.context_window or 0,
        "match": _kept_clause(model.match),
        "prices": [_kept_prices(one) for one in prices],
        "variants": [
            {"when": dict(sorted(one.when.items())), **_kept_dated(one)}
            for one in model.price_variants or ()
            if set(one.when) <= {"service_tier", "speed"}
        ],
    }


def _kept_clause(clause: Any) -> dict[str, Any]:
    for kind in _KINDS:
        if hasattr(clause, kind):
            return {kind: getattr(clause, kind)}
    if hasattr(clause, "or_"):
        return {"or": [_kept_clause(inner) for inner in clause.or_]}
    return {"and": [_kept_clause(inner) for inner in clause.and_]}


def _kept_prices(one: Any) -> dict[str, Any]:
    return _kept_dated(one) if hasattr(one, "constraint") else {"prices": _kept_classes(one)}


def _kept_dated(one: Any) -> dict[str, Any]:
    start = getattr(one.constraint, "start_date", None)
    made: dict[str, Any] = {"prices": _kept_classes(one.prices)}
    if start is not None:
        made["start"] = start.isoformat()
    elif one.constraint is not None:
        made["hours"] = True
    return made


def _kept_classes(prices: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in (*_CLASSES.values(), "requests_kcount", "output_citation_mtok"):
        value = getattr(prices, name, None)
        if value is None:
            continue
        if isinstance(value, Decimal):
            made[name] = str(value)
        else:
            made[name] = {
                "base": str(value.base),
                "tiers": [[one.start, str(one.price)] for one in value.tiers],
            }
    return made


class Genai:
    """Its models, found by their own ids, by the aliases that they spell out, and by their patterns."""

    def __init__(self, extracted: Mapping[str, Sequence[Mapping[str, Any]]], as_of: date) -> None:
        self._models = extracted
        self._as_of = as_of

    def find(self, preset: str, name: str) -> Voice | None:
        """What it says of an id."""
        models = self._models.get(PROVIDERS.get(preset, ""), ())
        exact = [model for model in models if model["id"] == name] + [
            model for model in models if name in spelled_out(model["match"])
        ]
        if exact:
            return self._voice(exact[0], exact=True)
        matching = [model for model in models if _matches(model["match"], name)]
        return self._voice(matching[0], exact=False) if len(matching) == 1 else None

    def unknown(self, preset: str, known: set[str]) -> Iterator[str]:
        """Its models of a preset that no id of ours is."""
        for model in self._models.get(PROVIDERS.get(preset, ""), ()):
            ids = {model["id"], *spelled_out(model["match"])}
            if not ids & known and not any(_matches(model["match"], name) for name in known):
                yield str(model["id"])

    def _voice(self, model: Mapping[str, Any], *, exact: bool) -> Voice | None:
        plain_days, by_hour = [], []
        for one in model["prices"]:
            table = _table(one["prices"])
            if not table:
                continue
            if one.get("hours"):
                by_hour.append(table)
            else:
                plain_days.append(
                    Dated(date.fromisoformat(one["start"]) if "start" in one else _ALWAYS, table)
                )
        now = max((one for one in plain_days if one.effective <= self._as_of), key=_day, default=None)
        if now is None and not by_hour:
            return None
        table = now.table if now is not None else by_hour[0]
        for other in by_hour:
            table = higher(table, other)  # an hour that nobody can choose costs the dearest
        services, uplifts = self._variants(model, table)
        return Voice(
            table=table,
            services=services,
            uplifts=uplifts,
            later=tuple(sorted((one for one in plain_days if one.effective > self._as_of), key=_day)),
            exact=exact,
            facts={
                "context": model["context"],
                "aliases": spelled_out(model["match"]),
                "cited": any("output_citation_mtok" in one["prices"] for one in model["prices"]),
            },
        )

    def _variants(
        self, model: Mapping[str, Any], table: Table
    ) -> tuple[dict[str, Table], dict[str, Decimal]]:
        services: dict[str, Table] = {}
        uplifts: dict[str, Decimal] = {}
        latest: dict[tuple[str, str], date] = {}
        for one in model["variants"]:
            if len(one["when"]) != 1:
                continue
            ((kind, name),) = one["when"].items()
            start = date.fromisoformat(one["start"]) if "start" in one else _ALWAYS
            own = _table(one["prices"])
            if not own or start > self._as_of or start < latest.get((kind, name), _ALWAYS):
                continue
            latest[kind, name] = start
            if kind == "service_tier" and name != "default":
                services[name] = own
            elif kind == "speed":
                uplifts[name] = max(
                    plain(price / table[0].prices[key])
                    for key, price in own[0].prices.items()
                    if table[0].prices.get(key)
                )
        return services, uplifts


def _day(one: Dated) -> date:
    return one.effective


def spelled_out(clause: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids that a clause names in full."""
    if "equals" in clause:
        return (str(clause["equals"]),)
    return tuple(name for inner in clause.get("or", ()) for name in spelled_out(inner))


def _matches(clause: Mapping[str, Any], name: str) -> bool:
    ((kind, value),) = clause.items()
    if kind == "or":
        return any(_matches(inner, name) for inner in value)
    if kind == "and":
        return all(_matches(inner, name) for inner in value)
    if kind == "regex":
        return re.search(value, name.lower()) is not None
    text, part = name.lower(), str(value).lower()
    tests = {
        "equals": text == part,
        "contains": part in text,
        "starts_with": text.startswith(part),
        "ends_with": text.endswith(part),
    }
    return tests[kind]


def _table(prices: Mapping[str, Any]) -> Table:
    values = {name: prices[key] for name, key in _CLASSES.items() if key in prices}
    if "input" not in values:
        return ()
    above = {0} | {
        start for value in values.values() if isinstance(value, dict) for start, _ in value["tiers"]
    }
    return tuple(
        Tier(start, {name: _at(value, start) for name, value in values.items()}) for start in sorted(above)
    )


def _at(value: Any, start: int) -> Decimal:
    if isinstance(value, str):
        return plain(Decimal(value))
    reached = [price for above, price in value["tiers"] if above <= start and start > 0]
    return plain(Decimal(reached[-1] if reached else value["base"]))
