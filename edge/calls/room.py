"""Owns how many of one pool's places are taken, and whether a key may take one more: its share, and what is kept for others."""

import heapq
import math
from collections import OrderedDict

from msgspec import Struct

from edge.calls.lanes import Lane, Line
from runtime.settings.fairness import Fairness
from schemas.bus.edges import KEYS_MAX, KeyCount, PoolCount

IDLE_LANES_MAX = 4_096  # keys that are remembered though they have no calls
_NOTHING = PoolCount(0, 0, 0)


class Other(Struct):
    """What another edge said last of a pool, and how many calls we had in it when we heard that."""

    count: PoolCount
    running_here: int


class Room:
    """One pool as this edge knows it. `capacity` is in places of all its workers, 0 where none has told.

    What another edge has started since its last word is taken to be what we have, and more where it has more keys. So two
    that see the same room do not both take all of it.
    """

    def __init__(self, pool: str, rules: Fairness, capacity: int) -> None:
        self.pool = pool
        self.capacity = capacity
        self.running = 0  # calls with a place
        self.line = Line()
        self.stalled = (
            False  # a worker had no room, whatever the figures say: nobody overtakes those who wait
        )
        self.rules = rules
        self._lanes: dict[str, Lane] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()  # scope: since when it has no calls
        self._weight_here = 0
        self._weight = 0  # of all edges' keys
        self._others: dict[str, Other] = {}
        self._elsewhere: dict[str, int] = {}  # scope: calls that run at other edges

    # Keys.

    def lane(self, scope: str) -> Lane:
        """A key's lane, made if it has none."""
        lane = self._lanes.get(scope)
        if lane is None:
            lane = self._lanes[scope] = Lane(scope)
            self._weight_here += lane.weight
            if scope not in self._elsewhere:
                self._weight += lane.weight
        elif scope in self._idle:
            del self._idle[scope]
        return lane

    def rests(self, lane: Lane, now: float) -> None:
        """Takes note that a key has neither a place nor a call that waits, if so."""
        if not lane.running and not lane.waiting:
            self._idle[lane.scope] = now
            if len(self._idle) > IDLE_LANES_MAX:
                self._forget(next(iter(self._idle)))

    def sweep(self, before: float) -> bool:
        """Forgets keys that have had no calls since then. Answers whether any is left."""
        while self._idle and next(iter(self._idle.values())) <= before:
            self._forget(next(iter(self._idle)))
        return bool(self._lanes)

    def _forget(self, scope: str) -> None:
        del self._idle[scope]
        lane = self._lanes.pop(scope)
        self._weight_here -= lane.weight
        if scope not in self._elsewhere:
            self._weight -= lane.weight

    # Places.

    def take(self, lane: Lane) -> None:
        """A call of a key has a place."""
        lane.running += 1
        self.running += 1

    def give_back(self, lane: Lane) -> None:
        """It has it no longer."""
        lane.running -= 1
        self.running -= 1

    def admits(self, lane: Lane) -> bool:
        """Whether a key may take one more place."""
        capacity = self.capacity
        if not capacity:
            return True
        taken = self._taken() if self._others else self.running
        free = capacity - taken
        if free < 1:
            return False
        held = lane.running + (self._elsewhere.get(lane.scope, 0) if self._elsewhere else 0)
        if not held:
            return True
        rules = self.rules
        if free - 1 < int(capacity * rules.kept):
            return False
        if taken <= capacity * rules.crowded:
            return True
        share = math.ceil(capacity * lane.weight / max(self._weight, lane.weight))
        return held < max(share, int(free * rules.of_free))

    def beyond_share(self, lane: Lane) -> bool:
        """Whether it is a key's own calls that keep it from one more place, rather than a lack of places."""
        return bool(self.capacity) and self.capacity - self._taken() >= 1 and not self.admits(lane)

    def _taken(self) -> float:
        # An edge with fewer keys than here may have as many by now: none reckons with more than an equal part for itself.
        taken, weight = float(self.running), max(self._weight_here, 1)
        for other in self._others.values():
            count, started = other.count, self.running - other.running_here
            taken += count.running + max(started, 0) * max(count.weight / weight, 1.0)
        return taken

    @property
    def guesses(self) -> bool:
        """Whether another edge's word would tell more than it said last: we have started calls since."""
        return any(self.running > other.running_here for other in self._others.values())

    # Other edges.

    def count(self) -> PoolCount | None:
        """What this edge says of the pool; None if there is nothing to say."""
        if not self._lanes:
            return None
        # Also those without calls now: named at two edges, a key is known to be one.
        most = heapq.nlargest(KEYS_MAX, self._lanes.values(), key=lambda lane: lane.running)
        heaviest = tuple(KeyCount(lane.scope, lane.running) for lane in most)
        return PoolCount(self.running, self.line.length, self._weight_here, heaviest)

    def hear(self, edge_id: str, count: PoolCount | None) -> None:
        """Another edge's word."""
        self._others[edge_id] = Other(count or _NOTHING, self.running)
        self._add_up()

    def forget(self, edge_id: str) -> None:
        """Another edge is gone."""
        if self._others.pop(edge_id, None) is not None:
            self._add_up()

    def _add_up(self) -> None:
        """What other edges say together. A key that is named more than once has its weight once."""
        elsewhere: dict[str, int] = {}
        weight = self._weight_here
        for other in self._others.values():
            weight += other.count.weight
            for key in other.count.heaviest:
                lane = self._lanes.get(key.scope)
                if lane is not None or key.scope in elsewhere:
                    weight -= 1 if lane is None else lane.weight
                elsewhere[key.scope] = elsewhere.get(key.scope, 0) + key.running
        self._elsewhere, self._weight = elsewhere, weight
