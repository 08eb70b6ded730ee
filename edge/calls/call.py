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
seen anything of it, or when its model cannot serve and another may. Every state but ENDED also ends by its deadline, by
the edge's stop, and when the caller leaves: then a call that a worker has, or may have, is followed until it is known
what it costs.
"""

import time

from edge import faults
from edge.calls.attempt import Fate, Verdict
from edge.calls.host import Settle, State
from edge.calls.offering import Offering
from schemas.bus.frames import Accept, Bounce, End, Failed, Frame
from schemas.errors import WireError, upstream_timeout


class Call(Offering):
    """One call, driven by frames, ticks and its caller; the answer sees it as an `Outlet`, and takes bytes with `take`."""

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

    def on_reconnect(self) -> None:
        """NATS is back: what was on its way may be lost."""
        now = time.monotonic()
        if self.state is State.OFFERED:
            self._deadlines.offered(now)  # a worker that has accepted says so again
        elif self.state is State.RUNNING:
            self.current.on_reconnect(now)
            self._parts_again()

    def _parts_again(self) -> None:
        """Some may be lost; the worker drops what it has. It has them all if it has begun to answer."""
        if self.parts_body and not self.current.flow.answered:
            self._host.send_parts(self)

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
                self._report(frame)
                # Frames still missing no longer matter: the worker has settled, or leaves the hold to us.
                open_still = isinstance(frame, Failed) and frame.gives_way
                self._end(None, Settle.RELEASE if open_still else Settle.WORKER)
                return
        verdict = self.current.on_frame(frame, now)
        if verdict is not None:
            self._report(frame)
            self._over(verdict)
        elif isinstance(frame, Accept):
            self._parts_again()  # its worker was away, perhaps when they were sent

    def _report(self, frame: Frame) -> None:
        job = self._candidates.job
        if isinstance(frame, End) and job.media_tokens:
            self._host.reported(self, job, frame.usage)

    def _over(self, verdict: Verdict) -> None:
        if verdict.fate is Fate.ENDED:
            self._end(verdict.error, verdict.how)
        elif verdict.fate is Fate.GAVE_WAY:
            error = verdict.error or upstream_timeout()
            if self._candidates.left and not self._deadlines.spent(time.monotonic()):
                self._ask(next_one=True)
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
                self._unserved(self._host.turns.no_room(self))
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
