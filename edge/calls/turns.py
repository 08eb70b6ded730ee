"""Owns which calls may be offered to their pools now, and which wait: a bounded line for each pool, in turns of its keys."""

import time
from collections.abc import Callable, Iterator, Mapping

from edge import faults
from edge.calls.lanes import Lane, Turn, Waiter
from edge.calls.room import Room
from edge.calls.roster import Roster
from edge.limits import Limits
from runtime.settings.fairness import FAIR, Fairness
from schemas.errors import WireError


class Turns:
    """The rooms of all pools that have calls here. `ask` has other edges say what they run, `met` tells a new room what they said."""

    def __init__(
        self,
        roster: Roster,
        limits: Limits,
        rules: Mapping[str, Fairness],
        *,
        ask: Callable[[], None],
        met: Callable[[Room], None],
        connected: Callable[[], bool],
    ) -> None:
        self._roster = roster
        self._limits = limits
        self._rules = rules
        self._ask = ask
        self._met = met
        self._connected = connected
        self._now = time.monotonic()  # of the last tick
        self.rooms: dict[str, Room] = {}

    def enter(self, call: Waiter) -> bool:
        """Takes a place in its pool for a call, if it has none. False if its key may not have one now."""
        pool, turn = call.pool, call.turn
        if turn is not None:
            if turn.pool == pool:
                return turn.placed
            self.leave(call)
        room = self.rooms.get(pool) or self._room(pool)
        lane = room.lane(call.scope)
        if lane.waiting or (room.stalled and self._stalled(room)) or not room.admits(lane):
            room.rests(lane, self._now)
            return False
        room.take(lane)
        call.turn = Turn(pool, lane, placed=True)
        return True

    def wait(self, call: Waiter, *, refused: bool) -> WireError | None:
        """A call waits for its turn; `refused` says that a worker had no room for it. The error, if too many wait."""
        turn = call.turn
        room = self._room(call.pool)
        first = turn is not None
        if turn is not None:
            if not turn.placed:
                return None
            turn.placed = False
            room.give_back(turn.lane)
            room.stalled = room.stalled or refused
        else:
            turn = call.turn = Turn(call.pool, room.lane(call.scope), placed=False)
            if (error := self._no_space(room, turn.lane, call)) is not None:
                call.turn = None
                room.rests(turn.lane, self._now)
                return error
        room.line.add(turn.lane, call, first=first)
        if not first:
            if room.guesses:
                self._ask()
            if len(turn.lane.waiting) > 1:
                self._offer(room, 1)  # those before it may want a model that nobody serves now
        return None

    def leave(self, call: Waiter) -> None:
        """A call has ended, or goes to another pool: its place is the next one's."""
        turn, call.turn = call.turn, None
        if turn is None:
            return
        room, lane = self.rooms[turn.pool], turn.lane
        if turn.placed:
            room.give_back(lane)
        else:
            room.line.remove(lane, call)
        room.rests(lane, self._now)
        if turn.placed and room.line.length:
            self._offer(room, 1)

    def no_room(self, call: Waiter) -> WireError:
        """Why a call that has waited for long enough is refused."""
        turn = call.turn
        if turn is not None and self._room(turn.pool).beyond_share(turn.lane):
            return faults.beyond_share(call.model)
        return faults.no_room(call.model)

    def on_beat(self, pool: str, places: int) -> None:
        """A worker of a pool has told how many more calls it would take."""
        room = self.rooms.get(pool)
        if room is None:
            return
        room.capacity = self._roster.places(pool) or room.capacity
        if places and room.line:
            room.stalled = False
            self._offer(room, places)

    def offer_waiting(self, *, again: bool = False) -> None:
        """More is known of every pool; `again` says that workers which had no room may have some now."""
        for room in list(self.rooms.values()):
            room.stalled = room.stalled and not again
            if not room.stalled:
                self._offer(room, room.line.length)

    def tick(self, now: float) -> None:
        """Forgets keys without calls, and offers what can be: beats normally have that done, and one may be lost."""
        self._now = now
        for pool, room in list(self.rooms.items()):
            room.capacity = self._roster.places(pool) or room.capacity
            if not room.sweep(now - self._limits.recent_s):
                del self.rooms[pool]
            elif room.line:
                stalled, room.stalled = room.stalled, False
                self._offer(room, 1 if stalled else room.line.length)

    def waiting(self) -> int:
        """How many calls wait, in all pools."""
        return sum(room.line.length for room in self.rooms.values())

    def __iter__(self) -> Iterator[Room]:
        return iter(list(self.rooms.values()))

    def _room(self, pool: str) -> Room:
        room = self.rooms.get(pool)
        if room is None:
            room = Room(pool, self._rules.get(pool, FAIR), self._roster.places(pool))
            self.rooms[pool] = room
            self._met(room)
        return room

    def _stalled(self, room: Room) -> bool:
        # A pool without any beat is perhaps deserted: its calls are offered, so that they need not wait to learn it.
        return bool(room.line) and not self._roster.silent(room.pool)

    def _offer(self, room: Room, most: int) -> None:
        """Offers so many of a pool's calls, each to the key whose turn it is, until no key may have a place."""
        for _ in range(min(most, room.line.length)):
            if not self._connected():
                return
            call = room.line.next(room.admits, self._served)
            if call is None or call.turn is None:
                if room.guesses:
                    self._ask()
                return
            room.take(call.turn.lane)
            turn = call.turn
            turn.placed = True
            call.offer_again()
            if call.turn is turn and not turn.placed:
                return  # it could not be published

    def _served(self, call: Waiter) -> bool:
        return self._roster.silent(call.pool) or self._roster.serves(call.pool, call.model)

    def _no_space(self, room: Room, lane: Lane, call: Waiter) -> WireError | None:
        """The error of a call for which there is no space to wait. The longest lane gives its newest call for another key's."""
        limits = self._limits
        if not self._connected():
            return None  # no key is to blame for it
        if len(lane.waiting) >= limits.waiting_per_key:
            return self._refusal(room, lane, call)
        if room.line.length < limits.waiting:
            return None
        longest = room.line.longest()
        if longest is None or len(longest.waiting) / longest.weight <= (len(lane.waiting) + 1) / lane.weight:
            return self._refusal(room, lane, call)
        newest = next(reversed(longest.waiting.values()))
        newest.turned_away(self._refusal(room, longest, newest))
        return None

    def _refusal(self, room: Room, lane: Lane, call: Waiter) -> WireError:
        return faults.beyond_share(call.model) if room.beyond_share(lane) else faults.no_room(call.model)
