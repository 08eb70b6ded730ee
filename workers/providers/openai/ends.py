"""Owns how a choice ends at compatible servers: their words for OpenAI's finish reasons, and those that are no end at all."""

from typing import Final

REASONS: Final = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))
# Other servers' words, in small letters, for OpenAI's.
_MEANING: Final = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
}
# The answer broke off, whatever the status was.
_FAILURES: Final = frozenset(
    (
        "error",
        "network_error",
        "insufficient_system_resource",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "timeout",
    )
)


def meaning(reason: str) -> str | None:
    """OpenAI's word for a finish reason; None for one that says nothing. A word that is not known stays as it is."""
    word = reason.strip().lower()
    if not word or word == "null":
        return None
    if word in REASONS:
        return word
    return _MEANING.get(word, reason)


def is_failure(reason: str) -> bool:
    """Whether a reason says that the answer broke off."""
    return reason.strip().lower() in _FAILURES
