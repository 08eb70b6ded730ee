"""Owns every bound and deadline of an edge, in one place and with its unit in its name."""

from msgspec import Struct

from runtime.settings.calls import DRAIN_S as READ_ON_S
from runtime.settings.calls import TOTAL_S
from runtime.settings.edge import DRAIN_S, KEEP_ALIVE_S
from schemas.bus import frames

LEFT_GRACE_S = 5.0  # beyond the time that a worker may drain an abandoned call


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of one edge. Tests shorten the times; deployments set `full_wait_s`, `call_s`, and what `[edge]` names."""

    # What callers may send, and how slowly.
    head_bytes: int = 32 * 1024
    head_s: float = 10.0
    body_s: float = 60.0
    body_bytes: int = frames.REQUEST_BYTES_MAX
    slow_s: float = 0.5  # a body that is not here by then is waited for only for a key that is known
    slow_asks: int = 4  # strangers with slow bodies whose keys are asked for at once
    early_bytes: int = 64 * 1024  # more is read only for a key that lives and could pay for a call
    # Bodies, before and after they are read, and plain answers: in memory, all callers together.
    buffered_bytes: int = 384 * 1024 * 1024
    desk_s: float = 10.0  # how long a large body waits until those before it are parsed
    requests: int = 4096  # being answered at once, without those whose bodies strangers still send
    connections: int = 8192  # at the most, fewer where descriptors are
    descriptors_kept: int = 256  # for what is no caller's connection
    backlog: int = 2048  # that the system has taken, and nobody has looked at
    waiting_connections: int = (
        2048  # that were looked at and are no connections yet, fewer where descriptors are
    )
    waiting_connections_least: int = 64
    keep_alive_s: float = KEEP_ALIVE_S
    send_buffer_bytes: int = 64 * 1024  # of a connection in the system, which allows itself twice this
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
    waiting: int = 1024  # calls that wait for one pool
    waiting_per_key: int = 256  # of one key, for one pool
    recent_s: float = 10.0  # a key counts in the shares of a pool for so long after its last call
    first_event_s: float = 15.0  # how long the head of a stream waits for its first event
    ping_s: float = 15.0
    silence_s: float = frames.SILENCE_MAX_S
    gap_s: float = 2.0  # how long missing frames may be resent
    overdue_s: float = 3.0  # a beat older than this makes a worker suspect
    probe_gap_s: float = 0.5
    settled_s: float = 5.0  # after this long connected, a pool without beats counts as having no worker
    call_s: float = TOTAL_S
    call_grace_s: float = 5.0  # a worker ends a call at its deadline, the edge this much later
    left_s: float = READ_ON_S + LEFT_GRACE_S  # how long an abandoned call is followed: a worker may drain it
    drain_s: float = DRAIN_S  # after SIGTERM, not ready and still accepting
    grace_s: float = TOTAL_S  # after that, for calls in flight


LIMITS = Limits()
