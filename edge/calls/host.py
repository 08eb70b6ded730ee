"""Owns the seam between a call and the relay that runs it: where a call stands, what it asks for, what its end means."""

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from schemas.bus.frames import Job
from schemas.money.pricing import TokenUsage

if TYPE_CHECKING:
    from edge.calls.call import Call


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
