"""Owns the names on the bus: roles, subjects, queue groups, streams."""

import re
import secrets
import time
from enum import StrEnum

WORKERS_QUEUE = "workers"
LEDGER_QUEUE = "ledger"
USAGE_STREAM = "USAGE"
USAGE_CONSUMER = "ledger"
EVENTS_STREAM = "EVENTS"
THOUGHTS_BUCKET = "thoughts"  # key-value bucket of thought signatures, by tool-call id
ITEMS_BUCKET = "items"  # key-value bucket of finished items, by scope, ring and item

_PART = r"[A-Za-z0-9_-]{1,64}"
_TOKEN = re.compile(_PART)
_FRAMES_INBOX = re.compile(rf"_INBOX\.{_PART}\.f\.{_PART}\.\d+(?:\.{_PART})?")


class Role(StrEnum):
    """A kind of bus user. A process may hold one connection per role."""

    EDGE = "edge"
    WORKER = "worker"
    USAGE = "usage"
    LEDGER = "ledger"
    COMMAND = "command"
    CONSOLE = "console"


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


POOLS = pool("*")
_WORKER = "worker."


def control(worker_id: str) -> str:
    """Where one worker hears cancels, credit, request parts and probes."""
    return f"{_WORKER}{worker_id}"


def controlled(subject: str) -> str:
    """The worker of a control subject; what is none comes back as it is."""
    return subject.removeprefix(_WORKER)


CONTROLS = control("*")


def beat(pool_name: str, worker_id: str) -> str:
    """Where one worker says what it can do for one pool."""
    return f"beat.{pool_name}.{worker_id}"


BEATS = "beat.>"


def edge_beat(edge_id: str) -> str:
    """Where one edge tells the others how many calls it runs."""
    return f"edge.{edge_id}"


EDGE_BEATS = edge_beat("*")


def usage(pool_name: str) -> str:
    """Where the usage events of a pool enter the stream USAGE."""
    return f"usage.{pool_name}"


USAGES = "usage.>"


def ledger(name: str) -> str:
    """Where a ledger answers the verb of a name."""
    return f"ledger.{name}"


LEDGERS = ledger("*")


def frames(edge_id: str, request_id: str, attempt: int, secret: str = "") -> str:
    """The reply inbox of one attempt of one call. With a secret only who has seen the job can name it."""
    inbox = f"_INBOX.{edge_id}.f.{request_id}.{attempt}"
    return f"{inbox}.{secret}" if secret else inbox


def frames_all(edge_id: str) -> str:
    """One edge's frames, all calls."""
    return f"_INBOX.{edge_id}.f.>"


def parse_frames(subject: str) -> tuple[str, int] | None:
    """Request id and attempt of a frame's subject; None if it is not one."""
    parts = subject.split(".")
    if not 5 <= len(parts) <= 6 or parts[0] != "_INBOX" or parts[2] != "f" or not parts[4].isdecimal():
        return None
    return parts[3], int(parts[4])


def edge_of(subject: str) -> str:
    """The edge that a frame's subject belongs to."""
    return subject.partition(".")[2].partition(".")[0]


def is_frames_inbox(subject: str) -> bool:
    """Whether a job's reply subject is a frame inbox: a worker writes to nothing else."""
    return _FRAMES_INBOX.fullmatch(subject) is not None


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


ITEMS_STREAM = f"KV_{ITEMS_BUCKET}"


def item(key: str) -> str:
    """Where a value of the bucket of items is written; `>` for all of them."""
    return f"$KV.{ITEMS_BUCKET}.{key}"


ITEM_READ = f"{JETSTREAM_API}.DIRECT.GET.{ITEMS_STREAM}"
ITEMS_PURGE = f"{JETSTREAM_API}.STREAM.PURGE.{ITEMS_STREAM}"


def next_events() -> str:
    """Where a ledger asks for messages of the stream of usage events."""
    return f"{JETSTREAM_API}.CONSUMER.MSG.NEXT.{USAGE_STREAM}.{USAGE_CONSUMER}"


def event(type_: str) -> str:
    """Where events of a type enter the stream EVENTS; `>` for all of them."""
    return f"event.{type_}"


def hook(endpoint: str) -> str:
    """Where what is for one webhook endpoint alone enters the same stream: a test, or an event once more."""
    return f"hook.{endpoint}"


HOOK_CONSUMER = "hook_"  # what the name of an endpoint's consumer begins with


def hook_consumer(endpoint: str) -> str:
    """The consumer of one webhook endpoint."""
    return f"{HOOK_CONSUMER}{endpoint}"


def next_hooks(endpoint: str) -> str:
    """Where a dispatcher asks for messages for one endpoint."""
    return f"{JETSTREAM_API}.CONSUMER.MSG.NEXT.{EVENTS_STREAM}.{hook_consumer(endpoint)}"
