"""Owns the turns of the keys whose calls wait for one pool: deficit round robin, by weight."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, field

from schemas.errors import WireError

WEIGHT = 1  # of every key


class Waiter(Protocol):
    """What turns need of a call."""

    request_id: str
    turn: "Turn | None"

    @property
    def pool(self) -> str:
        """Where its current candidate is served."""

    @property
    def model(self) -> str:
        """The id of the row that would serve it."""

    @property
    def scope(self) -> str:
        """Stands for its key."""

    def offer_again(self) -> None:
        """Its turn has come: it has a place."""

    def turned_away(self, error: WireError) -> None:
        """It waits no longer: another key's call needs the room in which it waited."""


class Lane(Struct, eq=False):
    """One key's calls in one pool of this edge: how many have a place, and which wait."""

    scope: str
    weight: int = WEIGHT
    running: int = 0
    waiting: OrderedDict[str, Waiter] = field(default_factory=OrderedDict)  # by request id
    deficit: int = 0  # places that it may still take in this turn


class Turn(Struct, eq=False):
    """Where a call stands with one pool: in its key's lane it has a place, or waits for one."""

    pool: str
    lane: Lane
    placed: bool


class Line:
    """The lanes of one pool in which calls wait. Each in its turn takes as many places as its weight."""

    def __init__(self) -> None:
        self._ring: OrderedDict[str, Lane] = OrderedDict()  # by scope; the first is next
        self.length = 0  # calls

    def __bool__(self) -> bool:
        return self.length > 0

    @property
    def lanes(self) -> int:
        """How many keys wait."""
        return len(self._ring)

    def add(self, lane: Lane, call: Waiter, *, first: bool) -> None:
        """A call waits, behind its key's others or, if it has been offered already, before them.

        Its key's turn is over all the same: a call that no worker takes must not be in everybody's way.
        """
        lane.waiting[call.request_id] = call
        if first:
            lane.waiting.move_to_end(call.request_id, last=False)
        if lane.scope not in self._ring:
            lane.deficit = 0
            self._ring[lane.scope] = lane
        self.length += 1

    def remove(self, lane: Lane, call: Waiter) -> None:
        """A call waits no longer."""
        if lane.waiting.pop(call.request_id, None) is None:
            return
        self.length -= 1
        if not lane.waiting:
            self._ring.pop(lane.scope, None)

    def next(self, admits: Callable[[Lane], bool], served: Callable[[Waiter], bool]) -> Waiter | None:
        """Takes out the call whose turn it is, of a lane that may have one more place; None if no call can be offered."""
        for _ in range(len(self._ring)):
            lane = next(iter(self._ring.values()))
            if lane.deficit < 1:
                lane.deficit += lane.weight
            call = next(filter(served, lane.waiting.values()), None) if admits(lane) else None
            if call is not None:
                lane.deficit -= 1
                self.remove(lane, call)
                if lane.deficit < 1 and lane.waiting:
                    self._ring.move_to_end(lane.scope)
                return call
            lane.deficit = 0  # nobody saves up turns that it cannot use
            self._ring.move_to_end(lane.scope)
        return None

    def longest(self) -> Lane | None:
        """The lane in which most calls wait, by weight."""
        return max(self._ring.values(), key=lambda lane: len(lane.waiting) / lane.weight, default=None)
