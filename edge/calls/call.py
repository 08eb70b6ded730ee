"""Owns one call as a state machine: offers, attempts, and how it ends for the caller and in the books.

Events come in as plain method calls (frames, ticks, a caller who hangs up), so a call costs no task and no timer.
What the caller is to be sent waits here until the answer takes it.

    WAITING --room--> OFFERED --accept--> RUNNING --end, failure--> ENDED
       ^                | |                 | |
       +--no room, -----+ +--no answer--+   | +--caller left, worker dead--> ENDED
          NATS away                     v   v
                                       ASKING --granted--> OFFERED, as the next attempt
                                          +-----refused--> ENDED

A call asks for a further attempt when an offer is not answered in time, when a worker is lost before the caller has
seen anything of it, or when its model cannot serve and another may. Every state but ENDED also ends by its deadline, by the edge's stop, and when the caller leaves:
then a call that a worker has, or may have, is followed until it is known what it costs.
"""

import time

from edge import faults
from edge.calls.attempt import Attempt, Fate, Verdict
from edge.calls.candidates import Candidates
from edge.calls.deadlines import Deadlines
from edge.calls.host import Host, Settle, State
from edge.calls.outlet import Outlet
from edge.limits import Limits
from schemas.bus.frames import Accept, Bounce, End, Failed, Frame
from schemas.errors import WireError, upstream_timeout
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.calls import Hold


class Call(Outlet):
    """One call, driven by frames, ticks and its caller; the answer sees it as an `Outlet`, and takes bytes with `take`."""

    def __init__(self, host: Host, limits: Limits, hold: Hold, candidates: Candidates) -> None:
        now = time.monotonic()
        super().__init__(limits, now)
        self._host = host
        self._limits = limits
        self._candidates = candidates
        job = candidates.job
        self.hold = hold
        self.request_id = job.request_id
        self.stream = job.stream
        self._error: WireError | None = None  # of the candidate that gives way, while the ledger is asked
        self.parts_body = b""  # a body too large for its job
        self.state = State.WAITING
        self.created = now
        self._deadlines = Deadlines(limits, now, job.deadline_s, 1 + candidates.left)
        self.current = Attempt(host, limits, self, job, number=job.attempt, now=now)

    @property
    def model(self) -> str:
        """The id of the row that serves it, or would."""
        return self._candidates.job.model

    @property
    def pool(self) -> str:
        """Where that row is served."""
        return self._candidates.pool

    @property
    def candidate(self) -> int:
        """Its place among the hold's candidates; 0 of a call with one."""
        return self._candidates.job.candidate

    # What the caller's side does.

    def take(self) -> bytes:
        """All bytes that wait, joined. Taking means that what was taken before has been sent."""
        attempt = self.current
        data = attempt.flow.take()
        if attempt.flow.credit_due and self.state is State.RUNNING:
            attempt.send_credit(time.monotonic())
        if data:
            self.took(time.monotonic())
        return data

    def hang_up(self) -> None:
        """The caller has left: the worker is told at once, and the call is followed to its end."""
        if self.left or self.state is State.ENDED:
            return
        now = time.monotonic()
        self.left = True
        self._deadlines.left(now)
        self.current.flow.drop()
        self._candidates.drop_bodies()  # it is not offered again
        self.parts_body = b""
        if self.state is State.WAITING:
            self._end(None, Settle.RELEASE)
        elif self.state is State.RUNNING:
            self.current.cancel(now)
            if not self._host.may_follow():
                self._end(None, Settle.WORKER)
        self.wake()

    # Offers.

    def offer(self) -> None:
        """Publishes the job, or waits for a moment in which that can help."""
        now = time.monotonic()
        if self._candidates.left and not self._host.serves(self.pool, self.model):
            self._unserved(faults.no_room(self.model))
        elif self.current.offer(self, self._candidates.job, self._deadlines.worker_s(now)):
            self.state = State.OFFERED
            self._deadlines.offered(now)
        else:
            self._wait(now)

    def offer_again(self) -> None:
        """A worker has room, or NATS is back."""
        if self.state is State.WAITING:
            self.offer()

    def _wait(self, now: float) -> None:
        self.state = State.WAITING
        self._deadlines.waiting(now)
        self._host.await_room(self)

    def on_no_responders(self) -> None:
        """Nobody heard the job."""
        if self.state is not State.OFFERED:
            return
        if self.left:
            self._end(None, Settle.RELEASE)
        elif self._host.deserted(self.pool):
            self._unserved(faults.no_room(self.model))
        else:
            self._wait(time.monotonic())

    def on_reconnect(self) -> None:
        """NATS is back: what was on its way may be lost."""
        now = time.monotonic()
        if self.state is State.OFFERED:
            self._deadlines.offered(now)  # a worker that has accepted says so again
        elif self.state is State.WAITING:
            self.offer()
        elif self.state is State.RUNNING:
            self.current.on_reconnect(now)
            self._parts_again()

    def _parts_again(self) -> None:
        """Some may be lost; the worker drops what it has. It has them all if it has begun to answer."""
        if self.parts_body and not self.current.flow.answered:
            self._host.send_parts(self)

    def _replace(self) -> None:
        """The attempt is given up before the caller has seen anything of it; the next one needs the ledger's word."""
        if self._candidates.attempts(self.current.number) < self._limits.attempts:
            self._ask(None)
        elif self._candidates.left:
            self._ask(faults.WORKERS_FAILED)
        else:
            self.current.cancel(time.monotonic())
            self._end(faults.WORKERS_FAILED, Settle.FAIL)

    def _unserved(self, error: WireError) -> None:
        """No worker has the call, and none of its candidate's will: the next candidate's turn, if there is one."""
        if self._candidates.left and not self.left:
            self._ask(error)
        else:
            self._end(error, Settle.RELEASE)

    def _ask(self, gives_way: WireError | None) -> None:
        """Asks for a further attempt: of the next candidate, if the current one gives way with an error."""
        replaced = self.estimate()
        self._error = gives_way
        self.state = State.ASKING
        self.current.flow.drop()  # what waits belongs to an answer that the caller will not get
        place = self.candidate if gives_way is None else self._candidates.next_place
        self._host.reattempt(self, replaced, place)

    def on_reattempt(self, ok: bool | None) -> None:
        """The ledger's word on a further attempt; None if it could not be asked."""
        if self.state is not State.ASKING:
            return
        now = time.monotonic()
        # Told to stop only now: the event of a worker that stops earlier could become the bill of an answer nobody got.
        self.current.cancel(now)
        if not ok:
            # Refused means that the worker's event has billed the call already, though its end was lost on its way here.
            error = faults.LEDGER_AWAY if ok is None else faults.WORKER_FAILED
            self._end(error, Settle.WORKER if self.left else Settle.FAIL)
            return
        number = self.current.number + 1
        if self._error is not None and self._candidates.left:
            self._candidates.advance(number)
        self.current = Attempt(self._host, self._limits, self, self._candidates.job, number=number, now=now)
        self._deadlines.again()
        if self.left:
            self._end(None, Settle.RELEASE)
        else:
            self.offer()

    # Frames of the current attempt.

    def on_frame(self, frame: Frame, now: float) -> None:
        """One frame."""
        if self.state is State.RUNNING:
            self._on_running(frame, now)
        elif isinstance(frame, Accept):
            if self.state is State.OFFERED:
                self._accepted(frame, now)
            else:
                self._host.cancel(frame.worker_id, self.request_id, self.current.number)
        elif isinstance(frame, Bounce) and self.state is State.OFFERED:
            self._bounced(frame, now)

    def _accepted(self, frame: Accept, now: float) -> None:
        self.state = State.RUNNING
        self.current.accept(frame, now)
        if self.left:
            self.current.cancel(now)
        elif self.parts_body:
            self._host.send_parts(self)

    def _bounced(self, frame: Bounce, now: float) -> None:
        if self.left:
            self._end(None, Settle.RELEASE)
        elif frame.error is not None:
            self._unserved(frame.error)
        elif self.current.bounces < self._limits.bounces:
            self.current.bounces += 1
            self.offer()
        else:
            self._wait(now)

    def _on_running(self, frame: Frame, now: float) -> None:
        if self.left:
            self.current.cancel_again(now)
            if isinstance(frame, End | Failed):
                # Frames still missing no longer matter: the worker has settled, or leaves the hold to us.
                open_still = isinstance(frame, Failed) and frame.gives_way
                self._end(None, Settle.RELEASE if open_still else Settle.WORKER)
                return
        verdict = self.current.on_frame(frame, now)
        if verdict is not None:
            self._over(verdict)
        elif isinstance(frame, Accept):
            self._parts_again()  # its worker was away, perhaps when they were sent

    def _over(self, verdict: Verdict) -> None:
        if verdict.fate is Fate.ENDED:
            self._end(verdict.error, verdict.how)
        elif verdict.fate is Fate.GAVE_WAY:
            error = verdict.error or upstream_timeout()
            if self._candidates.left and not self._deadlines.spent(time.monotonic()):
                self._ask(error)
            else:
                self._end(error, Settle.RELEASE)
        elif verdict.fate is Fate.DEAD:
            self.worker_died()
        elif self.delivered:
            self.current.cancel(time.monotonic())
            self._end(verdict.error, Settle.WORKER)
        else:
            self._replace()

    # Time.

    def tick(self, now: float) -> None:
        """Compares every deadline of this call with the clock."""
        if self.state is State.RUNNING and (verdict := self.current.tick(now)) is not None:
            self._over(verdict)
        if self.state is State.ENDED:
            return
        if self.left:
            self._tick_left(now)
            return
        if self._deadlines.over(now):
            self._overdue(now)
        elif self.state is not State.RUNNING:
            self._tick_unserved(now)
        if self.stream:
            self.ping(now)

    def _tick_unserved(self, now: float) -> None:
        if self.state is State.WAITING:
            error = self._deadlines.no_room(self._host, self.model, now)
            if error is faults.BUS_AWAY:
                self._end(error, Settle.RELEASE)
            elif error is not None:
                self._unserved(error)
        elif self.state is State.OFFERED and self._deadlines.unanswered(self._host, now):
            if self._host.connected:
                self._replace()
            else:
                self._end(faults.BUS_AWAY, Settle.FAIL)

    def _tick_left(self, now: float) -> None:
        if not self._deadlines.followed(now):
            return
        if self.state is State.RUNNING and not self._host.heard(self.current.worker_id):
            self.worker_died()
        else:
            self._end(None, Settle.WORKER)

    def _overdue(self, now: float) -> None:
        if self.state is State.RUNNING:
            self.current.cancel(now)
        self._end(upstream_timeout(), Settle.WORKER if self.delivered else self._given_up)

    # Ends.

    def estimate(self) -> TokenUsage:
        """Usage of the current attempt as far as its frames tell it; none before a worker has it."""
        return self.current.estimate(self._candidates.job) if self.current.worker_id else NO_USAGE

    def worker_died(self) -> None:
        """The worker that has this call is known to be dead."""
        if self.state is not State.RUNNING:
            return
        if self.left:
            self._end(None, Settle.CHARGE)
        elif self.delivered:
            self.current.cancel(
                time.monotonic()
            )  # cancel all the same: a frozen worker would bill when it thaws
            self._end(faults.WORKER_FAILED, Settle.CHARGE)
        else:
            self._replace()

    def end_now(self, error: WireError) -> None:
        """Ends the call for its caller though its worker could go on: the edge stops."""
        if self.state is State.RUNNING and not self.left:
            self.current.cancel(time.monotonic())
        self._end(error, Settle.WORKER if self.delivered or self.left else self._given_up)

    @property
    def _given_up(self) -> Settle:
        """What the end of a call means that its caller has seen nothing of."""
        return Settle.RELEASE if self.state is State.WAITING else Settle.FAIL

    def _end(self, error: WireError | None, how: Settle) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self.ended = True
        self.error = error
        self._host.settle(self, how)
        self.wake()
