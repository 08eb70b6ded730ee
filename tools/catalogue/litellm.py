"""Owns the first voice on facts: the price file of the litellm wheel, which is read as a file and never run."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tools.catalogue.tables import Table, Tier, inherited, usd
from tools.catalogue.voice import Voice

# Its providers, our presets, and the beginning that its ids have before the provider's own.
PRESETS: Final = {
    "openai": ("openai", ""),
    "text-completion-openai": ("openai", ""),
    "anthropic": ("anthropic", ""),
    "gemini": ("gemini", "gemini/"),
    "bedrock_converse": ("bedrock", ""),
    "bedrock": ("bedrock", ""),
    "azure": ("azure", "azure/"),
    "azure_ai": ("azure_ai", "azure_ai/"),
    "cerebras": ("cerebras", "cerebras/"),
    "cohere": ("cohere", ""),
    "cohere_chat": ("cohere", ""),
    "dashscope": ("dashscope", "dashscope/"),
    "deepinfra": ("deepinfra", "deepinfra/"),
    "deepseek": ("deepseek", "deepseek/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "groq": ("groq", "groq/"),
    "minimax": ("minimax", "minimax/"),
    "mistral": ("mistral", "mistral/"),
    "moonshot": ("moonshot", "moonshot/"),
    "perplexity": ("perplexity", "perplexity/"),
    "together_ai": ("together", "together_ai/"),
    "vertex_ai-anthropic_models": ("vertex", "vertex_ai/"),
    "vertex_ai-deepseek_models": ("vertex", "vertex_ai/"),
    "vertex_ai-embedding-models": ("vertex", "vertex_ai/"),
    "vertex_ai-language-models": ("vertex", "vertex_ai/"),
    "vertex_ai-llama_models": ("vertex", "vertex_ai/"),
    "vertex_ai-mistral_models": ("vertex", "vertex_ai/"),
    "vertex_ai-openai_models": ("vertex", "vertex_ai/"),
    "xai": ("xai", "xai/"),
    "zai": ("zai", "zai/"),
}
MODES: Final = {
    "chat": "chat",
    "responses": "responses",
    "completion": "completions",
    "embedding": "embeddings",
}
SERVICES: Final = ("flex", "priority", "ultrafast")
_ENDPOINTS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}
_OWN_PATHS: Final = ("openai", "azure")  # elsewhere the paths are litellm's own
_CLASSES: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "input_audio": "input_cost_per_audio_token",
    "output_audio": "output_cost_per_audio_token",
    "reasoning": "output_cost_per_reasoning_token",
    "cached_audio": "cache_read_input_audio_token_cost",
}
_WRITES: Final = ("cache_write", "cache_write_long")
_LONG: Final = ("cache_creation_input_token_cost_above_12hr", "cache_creation_input_token_cost_above_1hr")
_TAKES: Final = {
    "image": "supports_vision",
    "file": "supports_pdf_input",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
}
_EFFORTS: Final = {  # and whether a model that reasons has each where nothing is said
    "none": False,
    "minimal": False,
    "low": True,
    "medium": True,
    "high": True,
    "xhigh": False,
    "max": False,
}
_TIER: Final = re.compile(r"(?:input|output)_cost_per_token_above_(\d+)k_tokens(?:_(\w+))?")
_MILLION: Final = 10**6
# What `kept` leaves of a row.
_PRICE: Final = re.compile(
    r"(?:input|output)_cost_per_(?:audio_|reasoning_)?token.*|cache_(?:read|creation)_.*"
)
_FACTS: Final = frozenset(
    (
        "deprecation_date",
        "litellm_provider",
        "max_input_tokens",
        "max_output_tokens",
        "mode",
        "provider_specific_entry",
        "reasoning_effort_levels",
        "regional_processing_uplift_multiplier_eu",
        "regional_processing_uplift_multiplier_us",
        "search_context_cost_per_query",
        "successor_model",
        "supported_endpoints",
        "supports_function_calling",
        "supports_reasoning",
        "supports_response_schema",
        *_TAKES.values(),
        *(f"supports_{effort}_reasoning_effort" for effort in _EFFORTS),
    )
)


def kept(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is extracted: rows of the presets that sell text, with the fields that are read here."""
    return {
        key: {
            name: value
            for name, value in sorted(row.items())
            if name in _FACTS or (_PRICE.fullmatch(name) and "batches" not in name)
        }
        for key, row in sorted(rows.items())
        if row.get("litellm_provider") in PRESETS and row.get("mode") in MODES
    }


def voices(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Voice | None, str]]:
    """Each row by preset and id; a voice, or why it has none."""
    for key, row in rows.items():
        preset, start = PRESETS[row["litellm_provider"]]
        name = key.removeprefix(start)
        why = _left_out(preset, name)
        table = _table(row)
        embeds = row["mode"] == "embedding"
        if not why and not (table and table[0].prices.get("input")):
            why = "no price, or 0"
        elif not why and not (embeds or table[0].prices.get("output")):
            why = "no price of output, or 0"
        yield preset, name, None if why else _voice(preset, start, row, table), why


def _left_out(preset: str, name: str) -> str:
    if preset == "bedrock" and "/" in name:
        return "region or commitment path"
    if preset in ("openai", "anthropic", "gemini", "vertex") and ("/" in name or name.startswith("ft:")):
        return "path or fine-tune"
    if preset == "azure" and name.partition("/")[0] in (
        "us",
        "eu",
        "global",
        "global-standard",
        "command-r-plus",
    ):
        return "zone"
    return ""


def _voice(preset: str, start: str, row: Mapping[str, Any], table: Table) -> Voice:
    services = {
        name: found for name in SERVICES if (found := _table(row, name)) and "input" in found[0].prices
    }
    if preset == "openai" and "priority" in services:
        services["fast"] = services["priority"]  # another word for it in a request
    per_search = row.get("search_context_cost_per_query") or {}
    fee = usd(per_search.get("search_context_size_high")) if preset == "perplexity" else None
    return Voice(
        table=table,
        services=services,
        uplifts=_uplifts(preset, row),
        request=fee or Decimal(0),
        facts={
            "mode": _modes(preset, row),
            "max_input": row.get("max_input_tokens") or 0,
            "max_output": row.get("max_output_tokens") or 0,
            "takes": tuple(name for name, flag in _TAKES.items() if row.get(flag)),
            "tools": bool(row.get("supports_function_calling")),
            "json_schema": bool(row.get("supports_response_schema")),
            "efforts": _efforts(row),
            "shutdown": row.get("deprecation_date") or "",
            "successor": (row.get("successor_model") or "").removeprefix(start),
        },
    )


def _modes(preset: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    own = MODES[row["mode"]]
    if own in ("completions", "embeddings") or preset not in _OWN_PATHS:
        return (own,)
    named = {mode for path, mode in _ENDPOINTS.items() if path in (row.get("supported_endpoints") or ())}
    return tuple(mode for mode in _ENDPOINTS.values() if mode in named) or (own,)


def _efforts(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row.get("reasoning_effort_levels"):
        return tuple(row["reasoning_effort_levels"])
    if not row.get("supports_reasoning"):
        return ()
    return tuple(
        name for name, usual in _EFFORTS.items() if row.get(f"supports_{name}_reasoning_effort", usual)
    )


def _uplifts(preset: str, row: Mapping[str, Any]) -> dict[str, Decimal]:
    found = {}
    for region in ("us", "eu"):
        factor = usd(row.get(f"regional_processing_uplift_multiplier_{region}"))
        if preset == "openai":
            # Its price list names the models whose regional processing costs more: the others cost the same there.
            found[region] = factor or Decimal(1)
    for name, value in (row.get("provider_specific_entry") or {}).items():
        factor = usd(value) if not isinstance(value, str) or value.replace(".", "").isdigit() else None
        if factor:
            found[name] = factor
    return found


def _table(row: Mapping[str, Any], service: str = "") -> Table:
    """The prices of one service tier."""
    suffix = f"_{service}" if service else ""
    above = {0}
    for key in row:
        if (match := _TIER.fullmatch(key)) and (match[2] or "") == service:
            above.add(int(match[1]) * 1000)
    tiers = []
    for start in sorted(above):
        at = f"_above_{start // 1000}k_tokens" if start else ""
        prices = {name: usd(row.get(key + at + suffix), _MILLION) for name, key in _CLASSES.items()}
        prices["cache_write_long"] = next(
            (price for key in _LONG if (price := usd(row.get(key + at + suffix), _MILLION)) is not None), None
        )
        # A zero in an optional class means "not sold", never "free".
        own = {
            name: price
            for name, price in prices.items()
            if price is not None and (price or name in ("input", "output") or not prices["input"])
        }
        if own.get("reasoning") == own.get("output"):
            own.pop("reasoning", None)  # it is output: a service tier that names only output names this too
        if "input" in own or "output" in own:
            tiers.append(Tier(start, own))
    return _completed(tuple(tiers))


def _completed(table: Table) -> Table:
    """A class that only the first tier names keeps its proportion in the others: never cheaper by silence.

    A cache write that only a later tier names is another charge under that name: what a Gemini cache costs to keep.
    """
    if not table:
        return table
    first = table[0]
    later = tuple(
        Tier(
            tier.above,
            {
                name: price
                for name, price in tier.prices.items()
                if name in first.prices or name not in _WRITES
            },
        )
        for tier in table[1:]
    )
    return (first, *inherited(later, table[:1]))
