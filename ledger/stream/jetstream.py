"""Owns the ledger's streams on NATS: the stream of usage events with its consumer, and the bucket of thought signatures."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from runtime.bus.bus import Bus
from runtime.bus.streams import NAME_IN_USE, NANO, NO_CONSUMER, StreamProblem, ask, delivered, later
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import THOUGHTS_STREAM, USAGE_CONSUMER, USAGE_STREAM, USAGES

MAX_AGE_S = 14 * 86_400
MAX_BYTES = 2 * 1024 * 1024 * 1024
DUPLICATE_WINDOW_S = 600
ACK_WAIT_S = 10  # of a ledger that was killed: then another, or its successor, gets its messages
ACK_PENDING_MAX = 1_000  # messages handed out and not yet acknowledged, over all ledgers
THOUGHTS_AGE_S = 86_400
THOUGHTS_MAX_BYTES = 256 * 1024 * 1024
THOUGHTS_WINDOW_S = 120
_NO_MESSAGE = 10_037
PULL_BYTES_MAX = (
    4 * 1024 * 1024
)  # of one pull: more at once, and the server would cut the ledger off as too slow
LATER_S = 5.0  # a message that this ledger cannot read, but its successor may
_encode = msgspec.json.Encoder().encode


_logger = get_logger("ledger.jetstream")


class StreamState(Struct):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0


class _Settings(Struct):
    max_bytes: int = 0


class Stream(Struct):
    """A stream. `created` is its identity: a stream that was lost and made again has another."""

    created: str
    state: StreamState
    config: _Settings


class _Floor(Struct, frozen=True):
    stream_seq: int = 0


class Consumer(Struct):
    """The durable consumer: everything up to `ack_floor` is acknowledged."""

    ack_floor: _Floor = _Floor()
    config: dict[str, Any] = {}
    num_pending: int = 0
    num_ack_pending: int = 0


class _Sequence(Struct):
    seq: int


class _Kept(Struct):
    message: _Sequence


_decode_stream = msgspec.json.Decoder(Stream).decode
_decode_consumer = msgspec.json.Decoder(Consumer).decode
_decode_kept = msgspec.json.Decoder(_Kept).decode


def stream_config(
    name: str,
    subject: Sequence[str],
    *,
    replicas: int,
    age_s: int,
    size_bytes: int,
    window_s: int,
    **own: Any,
) -> dict[str, Any]:
    """What the ledger's streams have in common: on disk, the oldest goes first, no message is taken out. `own` adds or differs."""
    common = {
        "name": name,
        "subjects": list(subject),
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": age_s * NANO,
        "max_bytes": size_bytes,
        "max_msgs": -1,
        "max_consumers": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "num_replicas": replicas,
        "duplicate_window": window_s * NANO,
        "deny_delete": True,
    }
    return common | own


async def ensure_streams(bus: Bus, replicas: int) -> None:
    """Makes both streams, if they are not there. Raises StreamProblem, BusError."""
    usage = stream_config(
        USAGE_STREAM,
        [USAGES],
        replicas=replicas,
        age_s=MAX_AGE_S,
        size_bytes=MAX_BYTES,
        window_s=DUPLICATE_WINDOW_S,
        deny_purge=True,
    )
    thoughts = stream_config(
        THOUGHTS_STREAM,
        [subjects.thought(">")],
        replicas=replicas,
        age_s=THOUGHTS_AGE_S,
        size_bytes=THOUGHTS_MAX_BYTES,
        window_s=THOUGHTS_WINDOW_S,
        discard="new",
        max_msgs_per_subject=1,
        allow_rollup_hdrs=True,
        allow_direct=True,
    )
    for config in (usage, thoughts):
        await make_stream(bus, config)


async def make_stream(bus: Bus, config: dict[str, Any]) -> None:
    """Makes one stream, if it is not there. Raises StreamProblem, BusError.

    One that is there stays as it is, since a ledger may not change a stream: whoever may can empty it by its limits.
    """
    name = config["name"]
    try:
        await ask(bus, f"STREAM.CREATE.{name}", config)
    except StreamProblem as problem:
        if problem.code != NAME_IN_USE:
            raise
        _logger.warning("a stream is not as this ledger would make it, and stays so", stream=name)


_CONSUMER = {
    "durable_name": USAGE_CONSUMER,
    "ack_policy": "explicit",
    "ack_wait": ACK_WAIT_S * NANO,
    "max_deliver": -1,
    "max_ack_pending": ACK_PENDING_MAX,
    "replay_policy": "instant",
}


async def make_consumer(bus: Bus, start_seq: int) -> None:
    """Makes the durable consumer, to deliver from a sequence on. Raises StreamProblem, BusError."""
    where: dict[str, Any] = {"deliver_policy": "all"}
    if start_seq > 1:
        where = {"deliver_policy": "by_start_sequence", "opt_start_seq": start_seq}
    await _configure(bus, _CONSUMER | where)


async def update_consumer(bus: Bus) -> None:
    """Brings the consumer that there is up to date, as an earlier version may have made it."""
    known = (await consumer(bus)).config
    if known != known | _CONSUMER:
        await _configure(bus, known | _CONSUMER)


async def _configure(bus: Bus, config: dict[str, Any]) -> None:
    await ask(
        bus,
        f"CONSUMER.DURABLE.CREATE.{USAGE_STREAM}.{USAGE_CONSUMER}",
        {"stream_name": USAGE_STREAM, "config": config},
    )


async def reset_consumer(bus: Bus, start_seq: int) -> None:
    """Makes the consumer anew, to deliver from a sequence on. Raises StreamProblem, BusError."""
    await ask(bus, f"CONSUMER.DELETE.{USAGE_STREAM}.{USAGE_CONSUMER}")
    await make_consumer(bus, start_seq)


async def usage_stream(bus: Bus) -> Stream:
    """The stream as it is. Raises StreamProblem, BusError."""
    return _decode_stream(await ask(bus, f"STREAM.INFO.{USAGE_STREAM}"))


async def first_kept(bus: Bus, start_seq: int) -> int | None:
    """The first sequence from one on whose message the stream still has. Raises StreamProblem, BusError."""
    body = {"seq": start_seq, "next_by_subj": USAGES}
    try:
        return _decode_kept(await ask(bus, f"STREAM.MSG.GET.{USAGE_STREAM}", body)).message.seq
    except StreamProblem as problem:
        if problem.code != _NO_MESSAGE:
            raise
        return None


async def consumer(bus: Bus) -> Consumer:
    """The consumer as it is. Raises StreamProblem, BusError."""
    return _decode_consumer(await ask(bus, f"CONSUMER.INFO.{USAGE_STREAM}.{USAGE_CONSUMER}"))


async def ack_floor(bus: Bus) -> int | None:
    """Everything up to this sequence is acknowledged; None without a consumer. Raises StreamProblem, BusError."""
    try:
        return (await consumer(bus)).ack_floor.stream_seq
    except StreamProblem as problem:
        if problem.code != NO_CONSUMER:
            raise
        return None


def next_request(batch: int, expires_s: float) -> tuple[str, bytes]:
    """Subject and payload that ask for so many messages, PULL_BYTES_MAX in all."""
    body = {"batch": batch, "max_bytes": PULL_BYTES_MAX, "expires": int(expires_s * NANO)}
    return subjects.next_events(), _encode(body)


LATER = later(LATER_S)


def stream_sequence(ack_subject: str) -> int:
    """The stream sequence in a message's ack subject; 0 if it is not one."""
    found = delivered(ack_subject)
    return 0 if found is None else found.sequence
