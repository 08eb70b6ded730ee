"""Owns usage events: what a worker reports of each attempt it accepted, durable in the stream USAGE."""

from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from schemas.money.pricing import NO_USAGE, TokenUsage

VERSION = 2  # of usage batches alone: raised when a reader of the version before would misread one
EVENTS_PER_MESSAGE_MAX = 64
# Of one class in one call, all tries together: beyond it a report is nonsense, and sums could overflow.
TOKENS_MAX = 10**9


class Outcome(StrEnum):
    """How a call ended. `expired` is the ledger's word for a hold that nobody closed."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Known(StrEnum):
    """How usage is known: the provider's figures, or the estimation rule."""

    REPORTED = "reported"
    ESTIMATED = "estimated"


class Try(Struct, frozen=True, array_like=True):
    """One call of an upstream: what it cost us, at list price of `upstream`, whatever the caller pays."""

    account: str
    upstream: str
    outcome: Outcome
    status: int  # HTTP status; 0 when there was none
    known: Known
    usage: TokenUsage
    uplifts: tuple[str, ...] = ()  # service tier and region that the provider said it used
    reason: str = ""  # why it failed, for operators: the upstream's code and words


class UsageEvent(Struct, frozen=True, array_like=True):
    """The end of one accepted attempt; published exactly once per accept, failed and cancelled attempts included.

    `usage` is what the caller is billed for: all zero when it failed before the caller saw anything. `tries` is what we pay for,
    the one that served the caller last.
    """

    request_id: str
    attempt: int
    worker_id: str
    pool: str
    provider: str
    outcome: Outcome
    known: Known
    usage: TokenUsage = NO_USAGE
    uplifts: tuple[str, ...] = ()
    tries: tuple[Try, ...] = ()
    queued_ms: int = 0
    first_byte_ms: int = 0
    duration_ms: int = 0
    finished_ms: int = 0  # unix time
    candidate: int = 0  # the place of the model among the hold's candidates; 0 of a call with one
    gives_way: bool = (
        False  # it failed before its caller saw anything, and another candidate may serve: bills nobody
    )
    tier_unsaid: bool = (
        False  # estimated, and its provider had not said what it serves under: as its hold reckons
    )


def utf8_bytes(text: str) -> int:
    """How long a text of an answer is, as estimates count it."""
    return len(text) if text.isascii() else len(text.encode())


def countable(event: UsageEvent) -> bool:
    """Whether an event's numbers of tokens can be believed; if not, the books park it and bill nothing."""
    if not in_range(event.usage) or not all(in_range(one.usage) for one in event.tries):
        return False
    if len(event.tries) <= 1:
        return True
    sums = map(sum, zip(*(astuple(one.usage) for one in event.tries), strict=True))
    return max(sums) <= TOKENS_MAX


def in_range(usage: TokenUsage) -> bool:
    """Whether each class of tokens has a number that can be believed."""
    counts = astuple(usage)
    return bool(min(counts) >= 0 and max(counts) <= TOKENS_MAX)


def billed_uplifts(event: UsageEvent, reckoned: tuple[str, ...]) -> tuple[str, ...]:
    """What an event is billed as served under, where its hold reckons with so many names.

    One whose provider has not said its tier is taken to have been served as its hold reckons.
    """
    if not event.tier_unsaid:
        return event.uplifts
    return tuple(dict.fromkeys((*reckoned, *event.uplifts)))


class UsageBatch(Struct, frozen=True, array_like=True):
    """Events that came up while a publish was unacknowledged, in one message, at most EVENTS_PER_MESSAGE_MAX."""

    v: int
    events: tuple[UsageEvent, ...]


class _Versioned(Struct, frozen=True, array_like=True):
    v: int


encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(UsageBatch).decode
_decode_versioned = msgspec.msgpack.Decoder(_Versioned).decode


def version_of(data: bytes) -> int:
    """A batch's version, whatever else is in it. Raises msgspec.MsgspecError."""
    return _decode_versioned(data).v


def estimate_tokens(count_bytes: int) -> int:
    """Tokens in so many bytes of text, by the estimation rule: a quarter, rounded up."""
    return -(-count_bytes // 4)


def estimate(
    last: TokenUsage | None,
    *,
    prompt_max: int,
    text_bytes: int,
    output_max: int,
    output_tokens: int,
    answered: bool,
    media_tokens: int = 0,
) -> TokenUsage:
    """Usage of a call whose provider did not report its end.

    The last usage that the provider sent, its output raised to what was produced; else the prompt by the bytes of its text
    and what its media likely counts (`media_tokens`). What
    was produced is `output_tokens`: content, reasoning and tool arguments as the worker counts them, 0 where it has not
    said. It is at least 1 once the upstream has answered 2xx (`answered`). A token may be longer than four bytes: no
    more is estimated than the call was granted, so many tokens of prompt (`prompt_max`) and of output (`output_max`).
    """
    output = min(max(output_tokens, 1 if answered else 0), output_max)
    if last is None:
        return TokenUsage(input=min(prompt_max, estimate_tokens(text_bytes) + media_tokens), output=output)
    if last.completion >= output:
        return last
    return msgspec.structs.replace(last, output=last.output + output - last.completion)
