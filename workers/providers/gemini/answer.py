"""Owns the shape of Gemini's answers: the parts that are read, what usage means, and the table of finish reasons."""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from schemas.money.pricing import TokenUsage


class Call(Struct, rename="camel"):
    """A function call; it always arrives whole."""

    name: str = ""
    id: str | None = None
    args: Raw = Raw(b"{}")


class Part(Struct, rename="camel"):
    """One part of a candidate's content. Parts of other kinds are not in OpenAI's surface."""

    text: str | None = None
    thought: bool = False
    function_call: Call | None = None
    thought_signature: str | None = None


class Content(Struct):
    """A candidate's content; without parts when it was blocked."""

    parts: list[Part] | None = None


class Token(Struct, rename="camel"):
    """A token and its log probability; zero is left out on the wire."""

    token: str = ""
    log_probability: float = 0.0


class Tops(Struct):
    """The likeliest tokens of one position."""

    candidates: list[Token] | None = None


class Logprobs(Struct, rename="camel"):
    """Log probabilities of the tokens of this chunk."""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[Tops] | None = None


class Candidate(Struct, rename="camel"):
    """What a chunk adds to one choice."""

    content: Content | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs_result: Logprobs | None = None


class Modality(Struct, rename="camel"):
    """Tokens of one kind of media."""

    modality: str = ""
    token_count: int = 0


class Usage(Struct, rename="camel"):
    """Running totals. None is not said; a zero is said."""

    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    tool_use_prompt_tokens_details: list[Modality] | None = None
    cache_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None
    traffic_type: str | None = None


class Chunk(Struct, rename="camel"):
    """One event of a stream, or a whole plain answer."""

    candidates: list[Candidate] | None = None
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: Usage | None = None
    model_version: str = ""
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_answer = msgspec.json.Decoder(Chunk | list[Chunk]).decode

# What finishReason means. One that is not here ended the answer for a reason of the provider's own.
FINISH: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    # The output of one request is full, the answer is not: the caller may ask on, as after any limit.
    "CONTINUATION": "length",
}
FINISH_OTHER: Final = "content_filter"
# A filter's words. Any other that is not known says nothing of calls that have come whole.
FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)
# The answer is not one: the model went wrong, and another try may do better.
FAILED: Final = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS"}
)
UNSIGNED: Final = "MISSING_THOUGHT_SIGNATURE"
ACCOUNT_LIMITED: Final = "PUP_LIMITED_DISABLED"
TRAFFIC_TIERS: Final = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
LOGPROB_MIN: Final = -9999.0  # OpenAI's word for "very unlikely"


def merge_usage(known: Usage | None, told: Usage) -> Usage:
    """Running totals: what a chunk says replaces what was known; what it leaves out stays, and a 0 lowers nothing."""
    if known is None:
        return told
    before, now = structs.astuple(known), structs.astuple(told)
    for name, old, new in zip(Usage.__struct_fields__, before, now, strict=True):
        if not new and old:
            setattr(told, name, old)
    return told


def token_usage(usage: Usage) -> TokenUsage:
    """Each token in exactly one class: cached and audio tokens leave the class that they are counted in."""
    prompt = usage.prompt_token_count or 0
    tool_use = usage.tool_use_prompt_token_count or 0
    cached = min(usage.cached_content_token_count or 0, prompt)
    candidates = usage.candidates_token_count or 0
    thoughts = usage.thoughts_token_count or 0
    if thoughts and prompt + tool_use + candidates == usage.total_token_count:
        candidates = max(candidates - thoughts, 0)  # this model's count has its thoughts inside
    audio = _audio(usage.prompt_tokens_details) + _audio(usage.tool_use_prompt_tokens_details)
    cached_audio = min(_audio(usage.cache_tokens_details), cached)
    if audio:
        audio = min(max(audio - cached_audio, 0), prompt + tool_use - cached)
    audio_out = min(_audio(usage.candidates_tokens_details), candidates)
    return TokenUsage(
        input=prompt + tool_use - cached - audio,
        cached=cached - cached_audio,
        input_audio=audio,
        output=candidates - audio_out,
        reasoning=thoughts,
        output_audio=audio_out,
        cached_audio=cached_audio,
    )


def _audio(details: list[Modality] | None) -> int:
    if not details:
        return 0
    count = 0
    for detail in details:
        if detail.modality == "AUDIO":
            count += detail.token_count
    return count


def chat_logprobs(result: Logprobs, tops_max: int) -> list[dict[str, Any]]:
    """Entries in OpenAI's chat shape, with at most so many alternatives for each token."""
    tops = result.top_candidates or []
    entries = []
    for position, chosen in enumerate(result.chosen_candidates or ()):
        entry = _entry(chosen)
        likeliest = tops[position].candidates if position < len(tops) else None
        entry["top_logprobs"] = [_entry(token) for token in (likeliest or ())[:tops_max]]
        entries.append(entry)
    return entries


def _entry(token: Token) -> dict[str, Any]:
    return {
        "token": token.token,
        "logprob": max(token.log_probability, LOGPROB_MIN),
        "bytes": list(token.token.encode()),
    }
