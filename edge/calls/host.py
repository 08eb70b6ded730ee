"""Owns the seam between a call and the relay that runs it: where a call stands, what it asks for, what its end means."""

from enum import Enum, auto
from typing import Protocol

from schemas.bus.frames import Job
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold


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


class AttemptView(Protocol):
    """What a host needs of an attempt."""

    number: int  # from 1
    worker_id: str  # the worker that has it; empty before one has accepted
    inbox: str  # where its frames go; empty before its first offer
    seal: bytes  # what that worker wants a large body sealed to; empty of one that takes it as it is
    accepted: float | None  # when that worker accepted


class CallView(Protocol):
    """What a host needs of a call that asks it for something. Times are monotonic, None for what has not been yet."""

    request_id: str
    hold: Hold
    parts_body: bytes  # a body too large for its job; else empty
    state: State
    left: bool
    ended: bool
    created: float
    first_data: float | None

    @property
    def pool(self) -> str:
        """Where its current candidate is served."""

    @property
    def candidate(self) -> int:
        """The place of its current candidate in its hold."""

    @property
    def current(self) -> AttemptView:
        """Its last attempt."""

    def estimate(self) -> TokenUsage:
        """Usage of the current attempt as far as it is known."""

    def offer_again(self) -> None:
        """A worker has room."""

    def on_reattempt(self, ok: bool | None) -> None:
        """The ledger's word on a further attempt; None if it could not be asked."""

    def worker_died(self) -> None:
        """The worker that has the call is known to be dead."""


class Host(Protocol):
    """What a call needs of the relay that runs it. Nothing here blocks or raises."""

    @property
    def connected(self) -> bool:
        """Whether NATS can be spoken to."""

    @property
    def connected_since(self) -> float:
        """Monotonic time of the last (re)connect."""

    def publish_job(self, call: CallView, job: Job) -> bool:
        """Offers a job to the pool; False while NATS is away."""

    def cancel(self, worker_id: str, request_id: str, attempt: int) -> None:
        """Tells a worker to stop an attempt."""

    def credit(self, worker_id: str, request_id: str, attempt: int, through: int) -> None:
        """Tells a worker what has been consumed."""

    def send_parts(self, call: CallView) -> None:
        """Sends a large body to the worker that has accepted."""

    def await_room(self, call: CallView) -> None:
        """Has `call.offer_again` called when a worker of its pool has room."""

    def serves(self, pool: str, model: str) -> bool:
        """Whether a worker of the pool can serve the model, as far as is known."""

    def deserted(self, pool: str) -> bool:
        """Whether it is certain that a pool has no worker."""

    def reattempt(self, call: CallView, replaced: TokenUsage, candidate: int) -> None:
        """Asks the ledger for the next attempt, of the candidate at a place, then calls `call.on_reattempt`."""

    def reported(self, call: CallView, job: Job, usage: TokenUsage) -> None:
        """Takes note of what a call with media cost by its worker's word."""

    def settle(self, call: CallView, how: Settle) -> None:
        """Takes an ended call off the list, and tells the books what its end means."""

    def reserve(self, count: int) -> bool:
        """Takes bytes from what all callers may have in memory."""

    def may_follow(self) -> bool:
        """Whether there is room for one more call whose caller has left."""

    def heard(self, worker_id: str) -> bool:
        """Whether a worker's beat is not overdue."""
