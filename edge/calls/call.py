"""Owns one call as a state machine: offers, attempts, frames, credit, and how it ends for the caller and in the books.

Events come in as plain method calls (frames, ticks, a caller who hangs up), so a call costs no task and no timer.
What the caller is to be sent waits here until the answer takes it.
"""

import time

from msgspec import structs

from edge import faults
from edge.calls.flow import Flow, Order
from edge.calls.host import Host, Settle, State
from edge.calls.outlet import Outlet
from edge.calls.seen import Seen
from edge.limits import Limits
from schemas.bus import frames, usage
from schemas.bus.frames import Accept, Alive, Bounce, Data, EarlyUsage, End, Failed, Frame, Head, Job
from schemas.errors import NOT_RECORDED, WireError, internal, upstream_timeout
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.calls import Hold

CANCEL_INTERVAL_S = 2.0
_WAITING_BYTES_MAX = frames.WINDOW_BYTES_MAX + frames.FRAME_BYTES_MAX


class Call(Outlet):
    """One call, driven by frames, ticks and its caller; the answer sees it as an `Outlet`, and takes bytes with `take`."""

    def __init__(self, host: Host, limits: Limits, job: Job, hold: Hold) -> None:
        now = time.monotonic()
        super().__init__(limits, now)
        self._host = host
        self._limits = limits
        self._job = job
        self.hold = hold
        self.request_id = job.request_id
        self.attempt = job.attempt
        self.model = job.model
        self.pool = hold.pool
        self.stream = job.stream
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
        # The current attempt.
        self._flow = Flow()
        self._last_frame = now
        self._cancel_at = 0.0
        self._left_at = 0.0
        self._early: TokenUsage | None = None
        self._seen = Seen()

    # What the caller's side does.

    def take(self) -> bytes:
        """All bytes that wait, joined. Taking means that what was taken before has been sent."""
        flow = self._flow
        data = flow.take()
        if flow.credit_due and self.state is State.RUNNING:
            self._send_credit(time.monotonic())
        if data:
            self.took(time.monotonic())
        return data

    def hang_up(self) -> None:
        """The caller has left: the worker is told at once, and the call is followed to its end."""
        if self.left or self.state is State.ENDED:
            return
        self.left = True
        self._left_at = time.monotonic()
        self._flow.drop()
        self._job = structs.replace(self._job, body=b"")  # it is not offered again
        self.parts_body = b""
        if self.state is State.WAITING:
            self._end(None, Settle.RELEASE)
        elif self.state is State.RUNNING:
            self._seen.output_bytes()  # counted now, so that the events themselves need not be kept
            self._cancel(self._left_at)
            if not self._host.may_follow():
                self._end(None, Settle.WORKER)
        self.wake()

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
            self._end(faults.no_room(self.model), Settle.RELEASE)
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
            self._parts_again()

    def _parts_again(self) -> None:
        """Some may be lost; the worker drops what it has. It has them all if it has begun to answer."""
        if self.parts_body and not self._flow.received:
            self._host.send_parts(self)

    def _replace(self) -> None:
        """The attempt is given up before the caller has seen anything of it; the next one needs the ledger's word."""
        if self.attempt >= self._limits.attempts:
            self._cancel(time.monotonic())
            self._end(faults.WORKERS_FAILED, Settle.FAIL)
            return
        replaced = self.estimate() if self._flow.received >= 0 else NO_USAGE
        self.state = State.ASKING
        self._flow.drop()  # what waits belongs to an answer that the caller will not get
        self._host.reattempt(self, replaced)

    def on_reattempt(self, ok: bool | None) -> None:
        """The ledger's word on a further attempt; None if it could not be asked."""
        if self.state is not State.ASKING:
            return
        # Told to stop only now: the event of a worker that stops earlier could become the bill of an answer nobody got.
        self._cancel(time.monotonic())
        if not ok:
            # Refused means that the worker's event has billed the call already, though its end was lost on its way here.
            error = faults.LEDGER_AWAY if ok is None else faults.WORKER_FAILED
            self._end(error, Settle.WORKER if self.left else Settle.FAIL)
        else:
            self.attempt += 1
            self._bounces = 0
            self._waiting_since = 0.0
            self._flow = Flow()
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
        self._flow.order(0)
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
            if frame.last_seq > self._flow.received:
                self._gap(now)
            return
        if isinstance(frame, Bounce):
            return
        if self.left and isinstance(frame, End | Failed):
            self._end(None, Settle.WORKER)  # whatever is missing before it
            return
        order = self._flow.order(frame.seq)
        if order is Order.GAP:
            self._gap(now)
        elif order is Order.NEXT:
            self._on_next(frame)
        elif isinstance(frame, Accept):
            self._parts_again()  # its worker was away, perhaps when they were sent

    def _on_next(self, frame: Accept | Data | Head | EarlyUsage | End | Failed) -> None:
        if isinstance(frame, Data):
            self._append(frame.data)
            self.wake()
        elif isinstance(frame, EarlyUsage):
            self._early = frame.usage
        elif isinstance(frame, End):
            if frame.data:
                self._append(frame.data)
            if self.state is State.RUNNING:  # else there was no room for the last bytes
                self._complete()
        elif isinstance(frame, Failed):
            # An event that could not be recorded in time may still be, and would bill an answer that nobody got.
            unseen = not (self.stream and (self.delivered or self._flow.waiting_bytes))
            billed = frame.error.code == NOT_RECORDED and unseen and not self.left
            self._end(frame.error, Settle.FAIL if billed else Settle.WORKER)

    def _complete(self) -> None:
        empty = not (self.stream or self.left or self._flow.waiting_bytes)
        self._end(internal() if empty else None, Settle.FAIL if empty else Settle.WORKER)

    def _append(self, data: bytes) -> None:
        if not self.first_data:
            self.first_data = time.monotonic()
        if self.stream:
            self._seen.add(data)
        if self.left:
            self._flow.pass_on(len(data))
            return
        flow = self._flow
        flow.append(data)
        if not self.stream:
            # Nothing is sent before the end, so the window must move on by itself.
            if not self._host.reserve(len(data)):
                self._lost(faults.NO_MEMORY)
                return
            self.reserved += len(data)
            flow.pass_on(len(data))
            if flow.credit_due:
                self._send_credit(time.monotonic())
        elif flow.waiting_bytes > _WAITING_BYTES_MAX:
            self._lost(faults.TOO_MUCH)

    def _gap(self, now: float) -> None:
        """Frames are missing: they may be resent for a while, and the worker learns what arrived."""
        if not self._flow.gap_since:
            self._flow.gap_since = now
            self._send_credit(now)

    def _lost(self, error: WireError) -> None:
        """The worker lives, but its answer cannot be completed."""
        if self.delivered:
            self._cancel(time.monotonic())
            self._end(error, Settle.WORKER)
        else:
            self._replace()

    def _send_credit(self, now: float) -> None:
        # Absolute, so that a lost one does no harm.
        self._flow.credited(now)
        self._host.credit(self.worker_id, self.request_id, self.attempt, self._flow.consumed)

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
        if self._flow.stuck:
            self.drop_stalled(now)
        if now >= self._deadline:
            self._overdue(now)
        elif self.state is State.WAITING:
            self._tick_waiting(now)
        elif self.state is State.OFFERED:
            self._tick_offered(now)
        if self.stream:
            self.ping(now)

    def _tick_running(self, now: float) -> None:
        if self._flow.credit_again(now, frames.CREDIT_INTERVAL_S):
            self._send_credit(now)
        if self._flow.unconfirmed:
            self.wake()  # nothing has come since, but what was taken may have left
        if self.left:
            return  # a worker that has been told to stop has nothing more to say
        if now - self._last_frame >= self._limits.silence_s:
            self.worker_died()
        elif self._flow.gap_since and now - self._flow.gap_since >= self._limits.gap_s:
            self._lost(faults.PART_LOST)

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
                self._end(faults.BUS_AWAY, Settle.RELEASE)
        elif now - max(self._waiting_since, self._host.connected_since) >= self._limits.full_wait_s:
            self._end(faults.no_room(self.model), Settle.RELEASE)

    def _tick_offered(self, now: float) -> None:
        if not self._host.connected:
            if now - self._offered >= self._limits.bus_s:
                self._end(faults.BUS_AWAY, Settle.FAIL)
        elif now - self._offered >= self._limits.accept_s:
            self._replace()

    def _overdue(self, now: float) -> None:
        if self.state is State.RUNNING:
            self._cancel(now)
        how = Settle.RELEASE if self.state is State.WAITING else Settle.FAIL
        self._end(upstream_timeout(), Settle.WORKER if self.delivered else how)

    # Ends.

    def worker_died(self) -> None:
        """The worker that has this call is known to be dead."""
        if self.state is not State.RUNNING:
            return
        if self.left:
            self._end(None, Settle.CHARGE)
        elif self.delivered:
            self._cancel(time.monotonic())  # it may only be frozen
            self._end(faults.WORKER_FAILED, Settle.CHARGE)
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
            output_max=self._job.limit * self._job.choices,
            output_bytes=self._seen.output_bytes(),
            answered=self.left or self._early is not None or self._flow.received > 0,
        )

    def _cancel(self, now: float) -> None:
        if self.worker_id:
            self._cancel_at = now
            self._host.cancel(self.worker_id, self.request_id, self.attempt)

    def _end(self, error: WireError | None, how: Settle) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self.ended = True
        self.error = error
        self._host.settle(self, how)
        self.wake()
