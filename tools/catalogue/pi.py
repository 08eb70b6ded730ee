"""Owns the third voice: the models that the npm package pi-ai knows, with windows and the name of the output limit."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tools.catalogue.tables import Table, Tier, plain
from tools.catalogue.voice import Voice

# Our presets and its files.
FILES: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "bedrock": "amazon-bedrock",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "together": "together",
    "vertex": "google-vertex",
    "xai": "xai",
    "zai": "zai",
}
_CLASSES: Final = {"input": "input", "output": "output", "cached": "cacheRead", "cache_write": "cacheWrite"}
_OPTIONAL: Final = ("cached", "cache_write")


def kept(files: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """What is extracted: by file and id, prices, windows, what a prompt may hold, and the limit's name."""
    made: dict[str, dict[str, Any]] = {}
    for name in sorted(set(FILES.values()) & files.keys()):
        rows = {row["id"]: row for models in files[name].values() for row in models.values()}
        made[name] = {key: _kept_row(row) for key, row in sorted(rows.items()) if row.get("type") == "chat"}
    return made


def _kept_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "context": row.get("contextWindow") or 0,
        "cost": row.get("cost") or {},
        "input": row.get("input") or [],
        "limit_field": row.get("compat", {}).get("maxTokensField", ""),
        "max_output": row.get("maxTokens") or 0,
    }


class Pi:
    """Its models by preset and exact id."""

    def __init__(self, extracted: Mapping[str, Mapping[str, Any]]) -> None:
        self._files = extracted

    def ids(self, preset: str) -> Iterator[str]:
        """All that it knows of a preset."""
        yield from self._files.get(FILES.get(preset, ""), {})

    def find(self, preset: str, name: str) -> Voice | None:
        """What it says of an id."""
        row = self._files.get(FILES.get(preset, ""), {}).get(name)
        if row is None or row["cost"].get("input") is None:
            return None
        cost = row["cost"]
        tiers = [_tier(cost, 0), *(_tier(one, one["inputTokensAbove"]) for one in cost.get("tiers", ()))]
        return Voice(
            table=tuple(tiers),
            facts={
                "context": row["context"],
                "max_output": row["max_output"],
                "limit_field": row["limit_field"],
                "takes": tuple(name for name in row["input"] if name != "text"),
            },
        )


def _tier(cost: Mapping[str, Any], above: int) -> Tier:
    prices = {
        name: plain(Decimal(str(cost[key]))) for name, key in _CLASSES.items() if cost.get(key) is not None
    }
    return Tier(above, {name: price for name, price in prices.items() if price or name not in _OPTIONAL})


def core(table: Table) -> Table:
    """What it has a word for: classes of its own, so that its silence is no disagreement."""
    return tuple(
        Tier(tier.above, {name: price for name, price in tier.prices.items() if name in _CLASSES})
        for tier in table
    )
