"""Owns usage as compatible servers report it: under which names, in which parts, and what of it a caller may see."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.bus.usage import TOKENS_MAX
from schemas.json import UNREADABLE
from workers.providers.openai.money import is_money

_PROMPT: Final = "prompt_tokens"
_COMPLETION: Final = "completion_tokens"
_TOTAL: Final = "total_tokens"
_CACHED: Final = "prompt_tokens_details.cached_tokens"
_WRITTEN: Final = "prompt_tokens_details.cache_write_tokens"
_HEARD: Final = "prompt_tokens_details.audio_tokens"
_REASONING: Final = "completion_tokens_details.reasoning_tokens"
_SPOKEN: Final = "completion_tokens_details.audio_tokens"

# OpenAI's name of a figure, and where it stands: the first place that has more than 0 counts.
NAMES: Final = (
    (_PROMPT, (_PROMPT, "input_tokens", "prompt_token_count")),
    (_COMPLETION, (_COMPLETION, "output_tokens", "generated_tokens")),
    (_TOTAL, (_TOTAL, "total_token_count")),
    (
        _CACHED,
        (
            _CACHED,
            "input_tokens_details.cached_tokens",
            "prompt_cache_hit_tokens",  # DeepSeek
            "cached_tokens",  # Moonshot, Together
            "cache_read_input_tokens",  # Anthropic, and proxies in front of it
            "cache_read_tokens",
            "prompt_tokens_details.cache_read_input_tokens",
            "prompt_tokens_details.cache_read_tokens",
            "num_cached_tokens",
        ),
    ),
    (
        _WRITTEN,
        (
            _WRITTEN,
            "cache_creation_input_tokens",
            "cache_write_tokens",
            "prompt_tokens_details.cache_creation_input_tokens",  # DashScope
            "prompt_tokens_details.cache_creation_tokens",  # LiteLLM
        ),
    ),
    (_HEARD, (_HEARD, "input_tokens_details.audio_tokens")),
    (
        _REASONING,
        (
            _REASONING,
            "output_tokens_details.reasoning_tokens",
            "reasoning_tokens",  # Perplexity
            "thinking_tokens",
            "completion_tokens_details.thinking_tokens",
        ),
    ),
    (_SPOKEN, (_SPOKEN, "output_tokens_details.audio_tokens")),
)
# Counted beside the prompt where they stand under these names, and the total says so.
_BESIDE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")

_DIGITS_MAX: Final = 13  # of a count that is written as text

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode


class _PromptDetails(Struct, forbid_unknown_fields=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    text_tokens: int = 0


class _CompletionDetails(Struct, forbid_unknown_fields=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    text_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _Contract(Struct, forbid_unknown_fields=True):
    """Usage as OpenAI writes it: nothing of it has to change."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decode_contract = msgspec.json.Decoder(_Contract).decode
_NONE_BEFORE, _NONE_AFTER = _PromptDetails(), _CompletionDetails()


class Usages:
    """What one answer has said of its usage so far. Counts are running totals: a later 0 lowers nothing."""

    __slots__ = ("_first", "_said")

    def __init__(self) -> None:
        self._first: Raw | None = None  # what was said first, if that was sound: it is read when more comes
        self._said: dict[str, int] = {}

    def told(self, raw: Raw) -> Raw | None:
        """One more usage object, as OpenAI would have written it; None if no bill can be made of what was said."""
        if self._first is not None:
            self._take(_decode(self._first))
            self._first = None
        elif not self._said and _sound(raw):
            self._first = raw
            return raw
        try:
            usage = _decode(raw)
        except UNREADABLE:
            return None
        if not isinstance(usage, dict):
            return None
        self._take(usage)
        counts = self._counts(usage)
        return None if counts is None else Raw(_encode(_shown(usage, counts)))

    def _take(self, usage: Mapping[str, Any]) -> None:
        for name, places in NAMES:
            found = [count for place in places if (count := _count(_at(usage, place))) is not None]
            if found:
                more = next((count for count in found if count), 0)
                self._said[name] = more or self._said.get(name, 0)

    def _counts(self, usage: Mapping[str, Any]) -> dict[str, int] | None:
        """All figures, the totals made to agree: what a total has beyond its parts was produced out of sight."""
        counts = dict(self._said)
        total = counts.get(_TOTAL)
        prompt, completion = counts.get(_PROMPT), counts.get(_COMPLETION)
        if total is not None and prompt is not None and completion is None:
            completion = total - prompt
        elif total is not None and completion is not None and prompt is None:
            prompt = total - completion
        if prompt is None or completion is None or prompt < 0 or completion < 0:
            return None
        reasoning = counts.get(_REASONING, 0)
        hidden = max((total or 0) - prompt - completion, 0)
        beside = sum(_count(usage.get(name)) or 0 for name in _BESIDE)
        if hidden and hidden == beside:
            prompt += hidden
        elif hidden:
            completion += hidden
            counts[_REASONING] = max(reasoning, hidden)
        elif total is None and reasoning > completion:
            completion += reasoning
        return counts | {_PROMPT: prompt, _COMPLETION: completion, _TOTAL: prompt + completion}


def _sound(raw: Raw) -> bool:
    """Whether usage is as OpenAI writes it, to the letter."""
    try:
        usage = _decode_contract(raw)
    except UNREADABLE:
        return False
    before = usage.prompt_tokens_details or _NONE_BEFORE
    after = usage.completion_tokens_details or _NONE_AFTER
    parts = (before.cached_tokens, before.cache_write_tokens, before.audio_tokens)
    spoken = (after.reasoning_tokens, after.audio_tokens)
    totals = (usage.prompt_tokens, usage.completion_tokens)
    return (
        sum(totals) == usage.total_tokens <= TOKENS_MAX
        and min(*totals, *parts, *spoken) >= 0
        and sum(parts) <= usage.prompt_tokens
        and sum(spoken) <= usage.completion_tokens
    )


def _at(usage: Mapping[str, Any], place: str) -> Any:
    outer, _, inner = place.partition(".")
    value = usage.get(outer)
    if not inner:
        return value
    return value.get(inner) if isinstance(value, Mapping) else None


def _count(value: Any) -> int | None:
    """A count of tokens; None for whatever is none. Some servers write whole numbers as floats or as text."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= TOKENS_MAX
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX
    if whole or digits:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX:
        return value
    return None


def _shown(usage: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """What a caller sees: the server's own fields without money and without what is no count, under OpenAI's totals."""
    shown = _clean(usage)
    for name, count in counts.items():
        outer, _, inner = name.partition(".")
        if not inner:
            shown[outer] = count
            continue
        held = shown.get(outer)
        details = held if isinstance(held, dict) else {}
        if count or inner in details:
            shown[outer] = details | {inner: min(count, counts[outer.removesuffix("_details")])}
    return shown


def _clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        count = _count(value)
        if is_money(name):
            continue
        if name.endswith("_tokens") or (isinstance(value, int | float) and not isinstance(value, bool)):
            if count is not None:
                kept[name] = count
        elif isinstance(value, Mapping):
            kept[name] = _clean(value)
        elif not name.endswith("_details") and not isinstance(value, list):
            kept[name] = value
    return kept
