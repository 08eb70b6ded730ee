"""Owns every bound and deadline of an edge, in one place and with its unit in its name."""

from msgspec import Struct

from runtime.settings.calls import TOTAL_S
from runtime.settings.edge import DRAIN_S, KEEP_ALIVE_S
from schemas.bus import frames


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of one edge. Tests shorten the times; deployments set `full_wait_s`, `call_s`, and what `[edge]` names."""

    # What callers may send, and how slowly.
    head_bytes: int = 32 * 1024
    head_s: float = 10.0
    body_s: float = 60.0
    body_bytes: int = frames.REQUEST_BYTES_MAX
    slow_s: float = 0.5  # a body that is not here by then is waited for only for a key that is known
    early_bytes: int = 64 * 1024  # a larger body is read only for a key that is known
    buffered_bytes: int = 256 * 1024 * 1024  # bodies and plain answers in memory, all callers together
    requests: int = 4096  # being answered at once
    connections: int = 8192  # at the most, fewer where descriptors are
    descriptors_kept: int = 256  # for what is no caller's connection
    backlog: int = 2048
    keep_alive_s: float = KEEP_ALIVE_S
    stall_s: float = 120.0  # a reader who takes nothing for so long has left

    # How long parts of the gateway may take.
    tick_s: float = 0.5
    ledger_s: float = 5.0  # a ledger may be restarted meanwhile
    ledger_try_s: float = 2.0
    ledger_pause_s: float = 0.1  # between two tries
    ledger_ask_s: float = 1.0  # pause between pings of a ledger that does not answer
    # How long an edge retries a release or an estimate. After that the hold's lease ends it.
    settle_s: float = 60.0
    # How long it retries a refund. Unlike a hold, a wrong bill never expires by itself.
    refund_s: float = 86_400.0
    refund_stop_s: float = 25.0  # how long of its grace period an edge that stops spends on refunds alone
    bus_s: float = 15.0  # how long a call without a first byte waits for NATS to return
    catalogue_s: float = 5.0  # how old the catalogue may be
    catalogue_gap_s: float = 1.0  # unknown models refresh it at most this often
    ready_s: float = 1.0

    # One call.
    attempts: int = 3
    bounces: int = 3  # times a call is offered again at once; after that it waits for a worker with room
    accept_s: float = 2.0
    full_wait_s: float = 2.0  # for a worker with room, before 429
    first_event_s: float = 15.0  # how long the head of a stream waits for its first event
    ping_s: float = 15.0
    silence_s: float = frames.SILENCE_MAX_S
    gap_s: float = 2.0  # how long missing frames may be resent
    overdue_s: float = 3.0  # a beat older than this makes a worker suspect
    probe_gap_s: float = 0.5
    settled_s: float = 5.0  # after this long connected, a pool without beats counts as having no worker
    call_s: float = TOTAL_S
    call_grace_s: float = 5.0  # a worker ends a call at its deadline, the edge this much later
    left_s: float = 65.0  # how long an abandoned call is followed: a worker may drain its answer for 60 s
    drain_s: float = DRAIN_S  # after SIGTERM, not ready and still accepting
    grace_s: float = TOTAL_S  # after that, for calls in flight


LIMITS = Limits()
