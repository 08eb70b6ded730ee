"""Owns OpenAI's own shapes that more than one service writes: usage objects and the parts of a request that price it."""

from typing import Any

from schemas.money.pricing import TokenUsage


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """OpenAI's usage object for a call: prompt + completion is always total."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    prompt_details = {
        "cached_tokens": usage.cached + usage.cached_audio,
        "cache_write_tokens": usage.cache_write + usage.cache_write_long,
        "audio_tokens": usage.input_audio,
    }
    completion_details = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio}
    if kept := {name: count for name, count in prompt_details.items() if count}:
        body["prompt_tokens_details"] = kept
    if kept := {name: count for name, count in completion_details.items() if count}:
        body["completion_tokens_details"] = kept
    return body
