"""Owns one call as a state machine: offers, attempts, frames, credit, and how it ends for the caller and in the books.

Events come in as plain method calls (frames, ticks, a caller who hangs up), so a call costs no task and no timer.
What the caller is to be sent waits here until the answer takes it.
"""

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from msgspec import structs

from edge.limits import Limits
from edge.seen import Seen
from schemas import usage, wire
from schemas.books import Hold
from schemas.errors import WireError, saturated, unavailable, upstream_failed, upstream_timeout
from schemas.pricing import NO_USAGE, TokenUsage
from schemas.wire import (
    FRAME_BYTES_MAX,
    WINDOW_BYTES_MAX,
    Accept,
    Alive,
    Bounce,
    Data,
    EarlyUsage,
    End,
    Failed,
    Frame,
    Job,
)

CREDIT_BYTES = 256 * 1024
CREDIT_REPEATS = 3  # a credit that may have been lost is repeated so often, a second apart
CANCEL_INTERVAL_S = 2.0
_BUFFER_BYTES_MAX = WINDOW_BYTES_MAX + FRAME_BYTES_MAX


class State(Enum):
    """Where a call stands."""

    OFFERED = auto()  # a job is out, and no worker has answered
    WAITING = auto()  # nothing is out: no worker has room, or NATS is away
    ASKING = auto()  # the ledger is asked for a further attempt
    RUNNING = auto()  # a worker has it
    ENDED = auto()


class Settle(Enum):
    """What an end means for the books."""

    WORKER = auto()  # the worker's event settles
    RELEASE = auto()  # no worker has it, and none can
    CHARGE = auto()  # the worker is dead: our estimate, billed
    FAIL = auto()  # the caller saw an HTTP error: our estimate, our cost


class Host(Protocol):
    """What a call needs of the relay that runs it. Nothing here blocks or raises."""

    @property
    def connected(self) -> bool:
        """Whether NATS can be spoken to."""

    @property
    def connected_since(self) -> float:
        """Monotonic time of the last (re)connect."""

    def publish_job(self, call: "Call", job: Job) -> bool:
        """Offers a job to the pool; False while NATS is away."""

    def cancel(self, worker_id: str, request_id: str, attempt: int) -> None:
        """Tells a worker to stop an attempt."""

    def credit(self, worker_id: str, request_id: str, attempt: int, through: int) -> None:
        """Tells a worker what has been consumed."""

    def send_parts(self, call: "Call") -> None:
        """Sends a large body to the worker that has accepted."""

    def park(self, call: "Call") -> None:
        """Has `call.offer_again` called when a worker of its pool has room."""

    def serves(self, pool: str, model: str) -> bool:
        """Whether a worker of the pool can serve the model, as far as is known."""

    def deserted(self, pool: str) -> bool:
        """Whether it is certain that a pool has no worker."""

    def reattempt(self, call: "Call", replaced: TokenUsage) -> None:
        """Asks the ledger for the next attempt, then calls `call.on_reattempt`."""

    def settle(self, call: "Call", how: Settle) -> None:
        """Takes an ended call off the list, and tells the books what its end means."""

    def reserve(self, count: int) -> bool:
        """Takes bytes from what all callers may have in memory."""

    def may_follow(self) -> bool:
        """Whether there is room for one more call whose caller has left."""

    def heard(self, worker_id: str) -> bool:
        """Whether a worker's beat is not overdue."""


class Call:
    """One call. The answer reads `ended`, `error`, `ping_due`, `left`, and takes bytes with `take`."""

    def __init__(self, host: Host, limits: Limits, job: Job, hold: Hold) -> None:
        now = time.monotonic()
        self._host = host
        self._limits = limits
        self._job = job
        self.hold = hold
        self.request_id = job.request_id
        self.attempt = job.attempt
        self.model = job.model
        self.pool = hold.pool
        self.stream = job.stream
        self.body = job.body
        self.parts_body = b""  # a body too large for its job
        self.state = State.WAITING
        self.worker_id = ""
        self.created = now
        self.first_data = 0.0
        self._deadline = now + job.deadline_s + limits.call_grace_s
        self.accepted = 0.0
        self._offered = now
        self._waiting_since = 0.0
        self._bounces = 0
        # What the caller's side reads.
        self.ended = False
        self.error: WireError | None = None
        self.left = False
        self.delivered = False  # bytes of the answer have been given to the caller
        self.ping_due = False
        self.reserved = 0
        self.drop: Callable[[], None] | None = None  # cuts the caller's connection
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._progress = now  # when the caller last took something
        self._ping_at = now + limits.first_event_s
        # The frames of the current attempt, by sequence number.
        self._received = -1
        self._taken = 0
        self._consumed = 0
        self._uncredited_bytes = 0
        self._taken_bytes = 0
        self._repeats = 0
        self._credit_at = 0.0
        self._last_frame = now
        self._gap_since = 0.0
        self._cancel_at = 0.0
        self._left_at = 0.0
        self._early: TokenUsage | None = None
        self._seen = Seen()

    # What the caller's side does.

    async def wait(self) -> None:
        """Until there is something to do: bytes, an end, a ping, or a caller who has left."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def take(self) -> bytes:
        """All bytes that wait, joined. Taking means that what was taken before has been sent."""
        if self._taken_bytes:
            self._consume(self._taken, self._taken_bytes)
            self._taken_bytes = 0
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._taken = self._received
        self._taken_bytes = self._buffered
        self._buffered = 0
        self.delivered = True
        self._progress = time.monotonic()
        self._ping_at = self._progress + self._limits.ping_s
        return data

    def pinged(self) -> None:
        """A ping has been sent."""
        self.ping_due = False
        self._ping_at = time.monotonic() + self._limits.ping_s

    def hang_up(self) -> None:
        """The caller has left: the worker is told at once, and the call is followed to its end."""
        if self.left or self.state is State.ENDED:
            return
        self.left = True
        self._left_at = time.monotonic()
        self._chunks = []
        self.body = self.parts_body = b""
        if self.state is State.WAITING:
            self._end(None, Settle.RELEASE)
        elif self.state is State.RUNNING:
            self._received_all()
            self._seen.output_bytes()  # counted now, so that the events themselves need not be kept
            self._cancel(self._left_at)
            if not self._host.may_follow():
                self._end(None, Settle.WORKER)
        self._wake()

    # Offers.

    def offer(self) -> None:
        """Publishes the job, or waits for a moment in which that can help."""
        now = time.monotonic()
        if not self._host.serves(self.pool, self.model):
            self._wait(now)
            return
        job = structs.replace(
            self._job,
            attempt=self.attempt,
            deadline_s=max(self._deadline - self._limits.call_grace_s - now, 1.0),
            published_ms=time.time_ns() // 1_000_000,
        )
        if not self._host.publish_job(self, job):
            self._wait(now)
            return
        self.state = State.OFFERED
        self._offered = now

    def offer_again(self) -> None:
        """A worker has room, or NATS is back."""
        if self.state is State.WAITING:
            self.offer()

    def _wait(self, now: float) -> None:
        self.state = State.WAITING
        self._waiting_since = self._waiting_since or now
        self._host.park(self)

    def on_no_responders(self) -> None:
        """Nobody heard the job."""
        if self.state is not State.OFFERED:
            return
        if self.left:
            self._end(None, Settle.RELEASE)
        elif self._host.deserted(self.pool):
            self._end(_no_room(self.model), Settle.RELEASE)
        else:
            self._wait(time.monotonic())

    def on_reconnect(self) -> None:
        """NATS is back: what was on its way may be lost."""
        now = time.monotonic()
        if self.state is State.OFFERED:
            self._offered = now  # a worker that has accepted says so again
        elif self.state is State.WAITING:
            self.offer()
        elif self.state is State.RUNNING:
            self._last_frame = now
            self._send_credit(now)

    def _replace(self) -> None:
        """The attempt is given up before the caller has seen anything of it; the next one needs the ledger's word."""
        if self.attempt >= self._limits.attempts:
            self._end(upstream_failed("The gateway's workers failed. Retry with backoff."), Settle.FAIL)
            return
        replaced = self.estimate() if self._received >= 0 else NO_USAGE
        self.state = State.ASKING
        self._chunks = []
        self._buffered = self._taken_bytes = 0
        self._host.reattempt(self, replaced)

    def on_reattempt(self, ok: bool | None) -> None:
        """The ledger's word on a further attempt; None if it could not be asked."""
        if self.state is not State.ASKING:
            return
        if ok is None:
            self._end(unavailable("The gateway's ledger does not answer. Retry with backoff."), Settle.WORKER)
        elif not ok:
            self._end(upstream_failed("The gateway's worker failed. Retry with backoff."), Settle.WORKER)
        else:
            self.attempt += 1
            self._bounces = 0
            self._received = -1
            self._taken = self._consumed = self._uncredited_bytes = self._repeats = 0
            self._gap_since = self._waiting_since = 0.0
            self._early = None
            self._seen = Seen()
            self.worker_id = ""
            if self.left:
                self._end(None, Settle.RELEASE)
            else:
                self.offer()

    # Frames of the current attempt.

    def on_frame(self, frame: Frame, now: float) -> None:
        """One frame."""
        if self.state is State.RUNNING:
            self._last_frame = now
            if self.left and now - self._cancel_at >= CANCEL_INTERVAL_S:
                self._cancel(now)  # it goes on: the first one was lost
            self._on_running(frame, now)
        elif isinstance(frame, Accept):
            if self.state is State.OFFERED:
                self._accepted(frame, now)
            else:
                self._host.cancel(frame.worker_id, self.request_id, self.attempt)
        elif isinstance(frame, Bounce) and self.state is State.OFFERED:
            self._bounced(frame, now)

    def _accepted(self, frame: Accept, now: float) -> None:
        self.state = State.RUNNING
        self.worker_id = frame.worker_id
        self.accepted = now
        self._received = 0
        self._last_frame = now
        if self.left:
            self._cancel(now)
        elif self.parts_body:
            self._host.send_parts(self)

    def _bounced(self, frame: Bounce, now: float) -> None:
        if self.left:
            self._end(None, Settle.RELEASE)
        elif frame.error is not None:
            self._end(frame.error, Settle.RELEASE)
        elif self._bounces < self._limits.bounces:
            self._bounces += 1
            self.offer()
        else:
            self._wait(now)

    def _on_running(self, frame: Frame, now: float) -> None:
        if isinstance(frame, Alive):
            if frame.last_seq > self._received:
                self._gap(now)
            return
        if isinstance(frame, Failed):
            self._end(frame.error, Settle.WORKER)
            return
        if isinstance(frame, Bounce) or frame.seq <= self._received:
            return  # resent
        if frame.seq != self._received + 1:
            self._gap(now)
            return
        self._received = frame.seq
        self._gap_since = 0.0
        if isinstance(frame, Data):
            self._append(frame.data)
        elif isinstance(frame, EarlyUsage):
            self._early = frame.usage
        elif isinstance(frame, End):
            if frame.data:
                self._append(frame.data)
            self._end(None, Settle.WORKER)

    def _append(self, data: bytes) -> None:
        if not self.first_data:
            self.first_data = time.monotonic()
        if self.stream:
            self._seen.add(data)
        if self.left:
            self._received_all()
            return
        self._chunks.append(data)
        self._buffered += len(data)
        if not self.stream:
            # Nothing is sent before the end, so the window must move on by itself.
            if not self._host.reserve(len(data)):
                self._lost("The answer does not fit into the gateway's memory now. Retry with backoff.")
                return
            self.reserved += len(data)
            self._consume(self._received, len(data))
        elif self._buffered > _BUFFER_BYTES_MAX:
            self._lost("The gateway's worker sent more than it was allowed to.")
            return
        self._wake()

    def _gap(self, now: float) -> None:
        """Frames are missing: they may be resent for a while, and the worker learns what arrived."""
        if not self._gap_since:
            self._gap_since = now
            self._send_credit(now)

    def _lost(self, message: str = "Part of the answer was lost inside the gateway.") -> None:
        """The worker lives, but its answer cannot be completed."""
        self._cancel(time.monotonic())
        if self.delivered:
            self._end(upstream_failed(message), Settle.WORKER)
        else:
            self._replace()

    # Credit: absolute, so that a lost one does no harm.

    def _consume(self, through: int, count: int) -> None:
        self._consumed = through
        self._repeats = CREDIT_REPEATS
        self._uncredited_bytes += count
        if self._uncredited_bytes >= CREDIT_BYTES and self.state is State.RUNNING:
            self._send_credit(time.monotonic())

    def _received_all(self) -> None:
        self._consume(self._received, self._buffered + self._taken_bytes)
        self._buffered = self._taken_bytes = 0

    def _send_credit(self, now: float) -> None:
        self._uncredited_bytes = 0
        self._credit_at = now
        self._host.credit(self.worker_id, self.request_id, self.attempt, self._consumed)

    # Time.

    def tick(self, now: float) -> None:
        """Compares every deadline of this call with the clock."""
        if self.state is State.RUNNING:
            self._tick_running(now)
        if self.state is State.ENDED:
            return
        if self.left:
            self._tick_left(now)
            return
        if self._stalled(now) and self.drop is not None:
            self.drop()
        elif now >= self._deadline:
            self._overdue(now)
        elif self.state is State.WAITING:
            self._tick_waiting(now)
        elif self.state is State.OFFERED:
            self._tick_offered(now)
        if self.stream and now >= self._ping_at and not self.ended:
            self.ping_due = True
            self._wake()

    def _tick_running(self, now: float) -> None:
        if self._repeats and now - self._credit_at >= wire.CREDIT_INTERVAL_S:
            self._repeats -= 1
            self._send_credit(now)
        if self.left:
            return  # a worker that has been told to stop has nothing more to say
        if now - self._last_frame >= self._limits.silence_s:
            self._cancel(now)
            self.worker_died()
        elif self._gap_since and now - self._gap_since >= self._limits.gap_s:
            self._lost()

    def _tick_left(self, now: float) -> None:
        if now - self._left_at < self._limits.left_s:
            return
        if self.state is State.RUNNING and not self._host.heard(self.worker_id):
            self.worker_died()
        else:
            self._end(None, Settle.WORKER)

    def _tick_waiting(self, now: float) -> None:
        if not self._host.connected:
            if now - self._waiting_since >= self._limits.bus_s:
                self._end(_bus_away(), Settle.RELEASE)
        elif now - max(self._waiting_since, self._host.connected_since) >= self._limits.full_wait_s:
            self._end(_no_room(self.model), Settle.RELEASE)

    def _tick_offered(self, now: float) -> None:
        if not self._host.connected:
            if now - self._offered >= self._limits.bus_s:
                self._end(_bus_away(), Settle.FAIL)
        elif now - self._offered >= self._limits.accept_s:
            self._replace()

    def _overdue(self, now: float) -> None:
        if self.state is State.RUNNING:
            self._cancel(now)
        how = Settle.RELEASE if self.state is State.WAITING else Settle.FAIL
        self._end(upstream_timeout(), Settle.WORKER if self.delivered else how)

    def _stalled(self, now: float) -> bool:
        """Whether the caller has taken nothing for too long though bytes wait for it."""
        return bool(self._taken_bytes and self._chunks) and now - self._progress > self._limits.stall_s

    # Ends.

    def worker_died(self) -> None:
        """The worker that has this call is known to be dead."""
        if self.state is not State.RUNNING:
            return
        if self.left:
            self._end(None, Settle.CHARGE)
        elif self.delivered:
            self._end(upstream_failed("The gateway's worker failed. Retry with backoff."), Settle.CHARGE)
        else:
            self._replace()

    def end_now(self, error: WireError) -> None:
        """Ends the call for its caller though its worker could go on: the edge stops."""
        if self.state is State.RUNNING and not self.left:
            self._cancel(time.monotonic())
        how = Settle.RELEASE if self.state is State.WAITING else Settle.FAIL
        self._end(error, Settle.WORKER if self.delivered or self.left else how)

    def estimate(self) -> TokenUsage:
        """Usage of the current attempt as far as the edge has seen it."""
        return usage.estimate(
            self._early,
            prompt_max=self._job.prompt_max,
            text_bytes=self._job.text_bytes,
            output_bytes=self._seen.output_bytes(),
            answered=self.left or self._early is not None or self._received > 0,
        )

    def _cancel(self, now: float) -> None:
        self._cancel_at = now
        self._host.cancel(self.worker_id, self.request_id, self.attempt)

    def _end(self, error: WireError | None, how: Settle) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self.ended = True
        self.error = error
        self._host.settle(self, how)
        self._wake()


def _no_room(model: str) -> WireError:
    return saturated(f"No worker has room for the model `{model}` now. Retry with backoff.")


def _bus_away() -> WireError:
    return unavailable("The gateway's bus does not answer. Retry with backoff.")
