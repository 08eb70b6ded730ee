"""Owns which parameters of a request are priced, and which can never reach a prompt."""

# Values of these never reach a prompt. Everything else counts, so that a field nobody here knows is bounded too.
NO_PROMPT = frozenset(
    [
        "audio",
        "best_of",
        "echo",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "model",
        "models",
        "moderation",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
        "usage",
        "user",
        "verbosity",
    ]
)
# What is priced by its name. Some servers match names whatever their case or joints, so that `N` would be an unpriced `n`.
PRICED = frozenset(
    [
        "best_of",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "models",
        "n",
        "prompt",
        "service_tier",
        "stream",
        "stream_options",
        "web_search_options",
    ]
)
