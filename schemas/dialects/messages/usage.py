"""Owns Anthropic's usage objects: classes of input that exclude one another, cumulative over a stream."""

from typing import Any

from schemas.money.pricing import TokenUsage


def usage_totals(usage: TokenUsage) -> dict[str, Any]:
    """Usage as the last event of a stream has it: the classes of input exclude one another."""
    return {
        "input_tokens": usage.input + usage.input_audio,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_long,
        "cache_read_input_tokens": usage.cached + usage.cached_audio,
        "output_tokens": usage.completion,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "server_tool_use": None,
    }


def usage_whole(usage: TokenUsage) -> dict[str, Any]:
    """Usage as a message has it."""
    totals = usage_totals(usage)
    return {
        **{name: totals[name] for name in list(totals)[:4]},
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_long,
        },
        "output_tokens_details": totals["output_tokens_details"],
        "server_tool_use": None,
        "inference_geo": None,
        "service_tier": "standard",
    }
