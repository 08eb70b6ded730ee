"""Owns the names on the bus: subjects, queue groups, streams, and which role may say and hear what."""

import re
import secrets
import time
from enum import StrEnum

from msgspec import Struct

WORKERS_QUEUE = "workers"
LEDGER_QUEUE = "ledger"
USAGE_STREAM = "USAGE"
USAGE_CONSUMER = "ledger"
THOUGHTS_BUCKET = "thoughts"  # key-value bucket of thought signatures, by tool-call id

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Role(StrEnum):
    """A kind of bus user. A process may hold one connection per role."""

    EDGE = "edge"
    WORKER = "worker"
    USAGE = "usage"
    LEDGER = "ledger"
    COMMAND = "command"


class LedgerVerb(StrEnum):
    """Requests that a ledger answers on `ledger.<verb>`."""

    PING = "ping"
    KEY = "key"
    CATALOGUE = "catalogue"
    AUTHORISE = "authorise"
    REATTEMPT = "reattempt"
    RENEW = "renew"
    RELEASE = "release"
    ESTIMATE = "estimate"
    GENERATION = "generation"
    INVENTORY = "inventory"
    KEY_CREATE = "key_create"
    KEY_LIST = "key_list"
    KEY_SHOW = "key_show"
    KEY_REVOKE = "key_revoke"
    CREDIT = "credit"
    BALANCE = "balance"
    USAGE = "usage"
    POOLS = "pools"
    AUDIT = "audit"


EDGE_VERBS = (
    LedgerVerb.PING,
    LedgerVerb.KEY,
    LedgerVerb.CATALOGUE,
    LedgerVerb.AUTHORISE,
    LedgerVerb.REATTEMPT,
    LedgerVerb.RENEW,
    LedgerVerb.RELEASE,
    LedgerVerb.ESTIMATE,
    LedgerVerb.GENERATION,
)
WORKER_VERBS = (LedgerVerb.PING, LedgerVerb.RENEW, LedgerVerb.INVENTORY)
COMMAND_VERBS = (
    LedgerVerb.PING,
    LedgerVerb.KEY_CREATE,
    LedgerVerb.KEY_LIST,
    LedgerVerb.KEY_SHOW,
    LedgerVerb.KEY_REVOKE,
    LedgerVerb.CREDIT,
    LedgerVerb.BALANCE,
    LedgerVerb.USAGE,
    LedgerVerb.POOLS,
    LedgerVerb.AUDIT,
)


def is_token(text: str) -> bool:
    """Whether a text may stand as one token of a subject. Names of pools and ids are; names of models never are."""
    return _TOKEN.fullmatch(text) is not None


def new_id(prefix: str = "") -> str:
    """A fresh id, safe as one token of a subject: 48 bits of unix milliseconds, then 64 random bits.

    Time comes first so that new rows of the books fall next to one another in their indexes, however many there are.
    """
    return f"{prefix}{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def pool(name: str) -> str:
    """Where the jobs of a pool are published."""
    return f"pool.{name}"


_WORKER = "worker."


def control(worker_id: str) -> str:
    """Where one worker hears cancels, credit, request parts and probes."""
    return f"{_WORKER}{worker_id}"


def controlled(subject: str) -> str:
    """The worker of a control subject; what is none comes back as it is."""
    return subject.removeprefix(_WORKER)


def beat(pool_name: str, worker_id: str) -> str:
    """Where one worker says what it can do for one pool."""
    return f"beat.{pool_name}.{worker_id}"


BEATS = "beat.>"


def usage(pool_name: str) -> str:
    """Where the usage events of a pool enter the stream USAGE."""
    return f"usage.{pool_name}"


USAGES = "usage.>"


def ledger(verb: LedgerVerb) -> str:
    """Where a ledger answers one verb."""
    return f"ledger.{verb.value}"


def frames(edge_id: str, request_id: str, attempt: int) -> str:
    """The reply inbox of one attempt of one call."""
    return f"_INBOX.{edge_id}.f.{request_id}.{attempt}"


def frames_all(edge_id: str) -> str:
    """One edge's frames, all calls."""
    return f"_INBOX.{edge_id}.f.>"


def parse_frames(subject: str) -> tuple[str, int] | None:
    """Request id and attempt of a frame's subject; None if it is not one."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[0] != "_INBOX" or parts[2] != "f" or not parts[4].isdecimal():
        return None
    return parts[3], int(parts[4])


def is_frames_inbox(subject: str) -> bool:
    """Whether a job's reply subject is a frame inbox: a worker writes to nothing else."""
    parts = subject.split(".")
    return (
        len(parts) == 5
        and parts[0] == "_INBOX"
        and parts[2] == "f"
        and parts[4].isdecimal()
        and all(is_token(part) for part in (parts[1], parts[3]))
    )


def reply_prefix(role: Role) -> str:
    """The prefix of a role's reply inboxes."""
    return f"_INBOX.{role.value}.r"


JETSTREAM_API = "$JS.API"  # requests to JetStream itself; its answers come as replies
THOUGHTS_STREAM = f"KV_{THOUGHTS_BUCKET}"  # the stream behind the bucket


def thought(key: str) -> str:
    """Where a value of the bucket of thoughts is written; `>` for all of them."""
    return f"$KV.{THOUGHTS_BUCKET}.{key}"


def thought_read(key: str) -> str:
    """Where a value of the bucket of thoughts is asked for."""
    return f"{JETSTREAM_API}.DIRECT.GET.{THOUGHTS_STREAM}.{thought(key)}"


def next_events() -> str:
    """Where a ledger asks for messages of the stream of usage events."""
    return f"{JETSTREAM_API}.CONSUMER.MSG.NEXT.{USAGE_STREAM}.{USAGE_CONSUMER}"


class Permissions(Struct, frozen=True):
    """What a role may publish and subscribe to. A queue group stands after its subject, as nats-server writes it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


_KV = f"KV_{THOUGHTS_BUCKET}"
PERMISSIONS: dict[Role, Permissions] = {
    Role.EDGE: Permissions(
        publish=("pool.*", "worker.*", *(ledger(verb) for verb in EDGE_VERBS)),
        subscribe=("_INBOX.*.f.>", f"{reply_prefix(Role.EDGE)}.>", BEATS),
    ),
    Role.WORKER: Permissions(
        publish=(
            "_INBOX.*.f.>",
            "beat.*.*",
            *(ledger(verb) for verb in WORKER_VERBS),
            f"$KV.{THOUGHTS_BUCKET}.>",
            f"$JS.API.STREAM.INFO.{_KV}",
            f"$JS.API.DIRECT.GET.{_KV}.>",
        ),
        subscribe=(f"pool.* {WORKERS_QUEUE}", "worker.*", f"{reply_prefix(Role.WORKER)}.>"),
    ),
    Role.USAGE: Permissions(publish=("usage.*",), subscribe=(f"{reply_prefix(Role.USAGE)}.>",)),
    Role.LEDGER: Permissions(
        publish=(
            "_INBOX.*.r.>",
            "$JS.API.INFO",
            f"$JS.ACK.{USAGE_STREAM}.{USAGE_CONSUMER}.>",
            f"$JS.API.STREAM.CREATE.{USAGE_STREAM}",
            f"$JS.API.STREAM.UPDATE.{USAGE_STREAM}",
            f"$JS.API.STREAM.INFO.{USAGE_STREAM}",
            f"$JS.API.STREAM.MSG.GET.{USAGE_STREAM}",
            f"$JS.API.STREAM.CREATE.{_KV}",
            f"$JS.API.STREAM.UPDATE.{_KV}",
            f"$JS.API.STREAM.INFO.{_KV}",
            f"$JS.API.CONSUMER.CREATE.{USAGE_STREAM}.{USAGE_CONSUMER}",
            f"$JS.API.CONSUMER.CREATE.{USAGE_STREAM}.{USAGE_CONSUMER}.>",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{USAGE_STREAM}.{USAGE_CONSUMER}",
            f"$JS.API.CONSUMER.DELETE.{USAGE_STREAM}.{USAGE_CONSUMER}",
            f"$JS.API.CONSUMER.INFO.{USAGE_STREAM}.{USAGE_CONSUMER}",
            f"$JS.API.CONSUMER.MSG.NEXT.{USAGE_STREAM}.{USAGE_CONSUMER}",
        ),
        subscribe=(f"ledger.* {LEDGER_QUEUE}", BEATS, f"{reply_prefix(Role.LEDGER)}.>"),
    ),
    Role.COMMAND: Permissions(
        publish=tuple(ledger(verb) for verb in COMMAND_VERBS),
        subscribe=(f"{reply_prefix(Role.COMMAND)}.>",),
    ),
}
