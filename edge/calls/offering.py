"""Owns how a call comes to a worker: offers, the wait for room, further attempts, and the next candidate's turn."""

import math
import time
from abc import ABC, abstractmethod

from edge import faults
from edge.calls.attempt import Attempt
from edge.calls.candidates import Candidates
from edge.calls.deadlines import Deadlines
from edge.calls.host import Host, Settle, State
from edge.calls.lanes import Turn
from edge.calls.outlet import Outlet
from edge.limits import Limits
from schemas.errors import WireError
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.calls import Hold


class Offering(Outlet, ABC):
    """A call as far as no worker has it. Every further attempt needs the ledger's word, of whichever candidate it is."""

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
        self._next_one = False  # whether the ledger is asked for the next candidate's attempt
        self.parts_body = b""  # a body too large for its job
        self.turn: Turn | None = None
        self._waits_since: float | None = None
        self._waited_s = 0.0
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
    def scope(self) -> str:
        """Stands for its key."""
        return self._candidates.job.scope

    @property
    def queue_ms(self) -> int:
        """Milliseconds that it has waited to be offered, rounded up; 0 if it never had to."""
        since = self._waits_since
        if since is None:
            return math.ceil(self._waited_s * 1000) if self._waited_s else 0
        return math.ceil((self._waited_s + time.monotonic() - since) * 1000)

    @property
    def notice(self) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer of that row says in headers."""
        return self._candidates.notice

    @property
    def granted(self) -> int | None:
        """Output tokens that the hold grants each choice of that row; None where an answer has no such limit."""
        return self._candidates.job.limit or None

    @property
    def others(self) -> bool:
        """Whether further candidates may come to serve it."""
        return self._candidates.left > 0

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of what that row is not sent of the caller's body."""
        return self._candidates.dropped

    @property
    def candidate(self) -> int:
        """Its place among the hold's candidates; 0 of a call with one."""
        return self._candidates.job.candidate

    @abstractmethod
    def worker_died(self) -> None:
        """The worker that has this call is known to be dead."""

    def offer(self) -> None:
        """Publishes the job, or waits for a moment in which that can help."""
        now = time.monotonic()
        if self._candidates.left and not self._host.serves(self.pool, self.model):
            self._unserved(faults.no_room(self.model))
        elif self._host.turns.enter(self) and self.current.offer(
            self, self._candidates.job, self._deadlines.worker_s(now)
        ):
            self.state = State.OFFERED
            self._deadlines.offered(now)
            if self._waits_since is not None:
                self._waited_s += now - self._waits_since
                self._waits_since = None
        else:
            self._wait(now)

    def offer_again(self) -> None:
        """Its turn has come."""
        if self.state is State.WAITING:
            self.offer()

    def turned_away(self, error: WireError) -> None:
        """It waits no longer: another key's call needs the room in which it waited."""
        if self.state is State.WAITING:
            self._unserved(error)

    def _wait(self, now: float) -> None:
        refused = self.state is State.OFFERED
        self.state = State.WAITING
        self._deadlines.waiting(now)
        if self._waits_since is None:
            self._waits_since = now
        error = self._host.turns.wait(self, refused=refused)
        if error is not None:
            self._unserved(error)

    def on_no_responders(self) -> None:
        """Nobody heard the job."""
        if self.state is not State.OFFERED:
            return
        if self.left:
            self._end(None, Settle.RELEASE)
        elif self._attempt_is_first and self._host.deserted(self.pool):
            self._unserved(faults.no_room(self.model))
        else:
            self._wait(time.monotonic())

    @property
    def _attempt_is_first(self) -> bool:
        # A later one of this candidate lost its worker a moment ago: that one is being started again, and is worth a wait.
        return self._candidates.attempts(self.current.number) == 1

    def _replace(self) -> None:
        """The attempt is given up before the caller has seen anything of it; the next one needs the ledger's word."""
        if self._candidates.attempts(self.current.number) < self._limits.attempts:
            self._ask(next_one=False)
        elif self._candidates.left:
            self._ask(next_one=True)
        else:
            self.current.cancel(time.monotonic())
            self._end(faults.WORKERS_FAILED, Settle.FAIL)

    def _unserved(self, error: WireError) -> None:
        """No worker has the call, and none of its candidate's will: the next candidate's turn, if there is one."""
        if self._candidates.left and not self.left:
            self._ask(next_one=True)
        else:
            self._end(error, Settle.RELEASE)

    def _ask(self, *, next_one: bool) -> None:
        """Asks for a further attempt: of the current candidate, or of the next one to which it gives way."""
        replaced = self.estimate()
        self._next_one = next_one
        self.state = State.ASKING
        if next_one:
            self._host.turns.leave(self)  # the next one may be another pool's
        self.current.flow.drop()  # what waits belongs to an answer that the caller will not get
        place = self._candidates.next_place if next_one else self.candidate
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
        if self._next_one and self._candidates.left:
            self._candidates.advance(number)
        self.current = Attempt(self._host, self._limits, self, self._candidates.job, number=number, now=now)
        self._deadlines.again()
        if self.left:
            self._end(None, Settle.RELEASE)
        else:
            self.offer()

    def estimate(self) -> TokenUsage:
        """Usage of the current attempt as far as its frames tell it; none before a worker has it."""
        return self.current.estimate(self._candidates.job) if self.current.worker_id else NO_USAGE

    def _end(self, error: WireError | None, how: Settle) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self.ended = True
        self.error = error
        self._host.settle(self, how)
        self.wake()
