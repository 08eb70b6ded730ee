"""Owns what becomes of each field of a Responses request: which goes on, which does not, which reaches no prompt."""

from typing import Final

from schemas.asked import Fields
from schemas.chat.toolsets import absent
from schemas.names import by_fold

# What an upstream that speaks the dialect gets; `model`, `store`, the limit and `input` as the gateway writes them.
PASSED: Final = frozenset(
    (
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    )
)
# Read here and sent nowhere: the gateway's own, and what is refused unless it asks for nothing.
_OWN: Final = frozenset(
    ("background", "conversation", "models", "moderation", "previous_response_id", "prompt", "store", "usage")
)
# What a family that is asked through chat does not get beside that.
_THROUGH_CHAT: Final = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")
# Values of these never reach a prompt. Everything else counts, so that a field nobody here knows is bounded too.
NO_PROMPT: Final = (
    PASSED - {"include", "input", "instructions", "text", "tool_choice", "tools", "truncation"} | _OWN
)


# What a body may hold, and how a careless reader takes other names for these.
KNOWN: Final = PASSED | _OWN
FOLDS: Final = by_fold(KNOWN)
LIMIT: Final = "max_output_tokens"


def dropped(fields: Fields) -> tuple[str, ...]:
    """Names of what a body has and no upstream gets."""
    return tuple(name for name, value in fields.items() if name not in KNOWN and not absent(value))


def dropped_through_chat(fields: Fields) -> tuple[str, ...]:
    """The same of what only an upstream gets that speaks the dialect itself."""
    return tuple(name for name in _THROUGH_CHAT if name in fields and not absent(fields[name]))
