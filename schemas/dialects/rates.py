"""Owns how the headers of a limited key are named and written: OpenAI's words, and Anthropic's."""

from datetime import UTC, datetime

from schemas.verbs.calls import Limited, Measure, Room

Headers = tuple[tuple[bytes, bytes], ...]

_MEASURES = {
    Measure.REQUESTS: "requests per min (RPM)",
    Measure.TOKENS: "tokens per min (TPM)",
    Measure.IN_FLIGHT: "calls in flight",
}


def span(ms: int) -> str:
    """A time as OpenAI writes it: 12ms, 1.2s, 6m0s."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _measures(room: Room) -> tuple[tuple[bytes, int, int, int], ...]:
    found = (
        (b"requests", room.limit_requests, room.left_requests, room.reset_requests_ms),
        (b"tokens", room.limit_tokens, room.left_tokens, room.reset_tokens_ms),
    )
    return tuple(one for one in found if one[1])


def openai_headers(room: Room) -> Headers:
    """`x-ratelimit-…`, for requests and for tokens, as far as they are limited."""
    headers: list[tuple[bytes, bytes]] = []
    for name, limit, left, reset_ms in _measures(room):
        headers.append((b"x-ratelimit-limit-" + name, b"%d" % limit))
        headers.append((b"x-ratelimit-remaining-" + name, b"%d" % left))
        headers.append((b"x-ratelimit-reset-" + name, span(reset_ms).encode()))
    return tuple(headers)


def anthropic_headers(room: Room, now_s: float) -> Headers:
    """`anthropic-ratelimit-…`; a reset is a moment by RFC 3339."""
    headers: list[tuple[bytes, bytes]] = []
    for name, limit, left, reset_ms in _measures(room):
        begin = b"anthropic-ratelimit-" + name
        reset = datetime.fromtimestamp(now_s + reset_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers.append((begin + b"-limit", b"%d" % limit))
        headers.append((begin + b"-remaining", b"%d" % left))
        headers.append((begin + b"-reset", reset.encode()))
    return tuple(headers)


def told(limited: Limited, key_id: str) -> str:
    """A refusal in OpenAI's words."""
    whose = f"key {key_id}" if limited.scope == "key" else f"the organisation of key {key_id}"
    figures = f"Limit {limited.limit}, Used {limited.used}, Requested {limited.asked}."
    about = f"{whose} on {_MEASURES[limited.measure]}: {figures}"
    if limited.retry_ms < 0:
        return f"Request too large for {about} Send a shorter prompt, or set a lower limit of output tokens."
    return f"Rate limit reached for {about} Please try again in {span(limited.retry_ms)}."
