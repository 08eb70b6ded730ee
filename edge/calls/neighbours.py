"""Owns what edges tell one another: their beats, sent each second and when asked, heard, and forgotten when overdue."""

import asyncio
import time

import msgspec
from msgspec import Struct

from edge.calls.room import Room
from edge.calls.turns import Turns
from runtime.bus.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.bus import edges, subjects
from schemas.bus.edges import EdgeBeat

EDGES_MAX = 64  # others that are remembered

_logger = get_logger("edge.neighbours")


class Neighbour(Struct, eq=False):
    """Another edge. `heard` is monotonic."""

    beat: EdgeBeat
    heard: float


class Neighbours:
    """The other edges on the bus. Times are monotonic."""

    def __init__(self, bus: Bus, edge_id: str, overdue_s: float) -> None:
        self._bus = bus
        self._edge_id = edge_id
        self._overdue_s = overdue_s
        self._known: dict[str, Neighbour] = {}
        self._said_at = 0.0
        self._asks = False  # the next beat asks the others for theirs
        self._asked = False  # another edge waits for our beat
        self._later: asyncio.TimerHandle | None = None
        self.turns: Turns | None = None

    def ask(self) -> None:
        """Has the others say what they run, in a moment."""
        if self._known and not self._asks:
            self._asks = True
            self.follow(time.monotonic())

    def greet(self, now: float) -> None:
        """Asks the others at once: our edge is new on the bus, or back."""
        self._asks = True
        self._say(now)

    def hear(self, message: Message, now: float) -> None:
        """A beat of some edge."""
        try:
            beat = edges.decode_beat(message.data)
        except msgspec.MsgspecError:
            _logger.warning("an edge's beat that cannot be read", subject=message.subject)
            return
        own, forged = beat.edge_id == self._edge_id, message.subject != subjects.edge_beat(beat.edge_id)
        if own or forged or beat.v < edges.VERSION:
            return
        if beat.edge_id not in self._known and len(self._known) >= EDGES_MAX:
            return
        self._known[beat.edge_id] = Neighbour(beat, now)
        for room in self.turns or ():
            room.hear(beat.edge_id, beat.pools.get(room.pool))
        self._asked = self._asked or beat.asks
        self.follow(now)
        if self.turns is not None:
            self.turns.offer_waiting()

    def introduce(self, room: Room) -> None:
        """Tells a new room what is known of it."""
        for edge_id, other in self._known.items():
            room.hear(edge_id, other.beat.pools.get(room.pool))

    def follow(self, now: float) -> None:
        """Sends a beat if one is due: each second, or sooner where somebody asks."""
        soon = self._asks or self._asked
        rest_s = self._said_at + (edges.BEAT_GAP_S if soon else edges.BEAT_INTERVAL_S) - now
        if rest_s <= 0:
            self._say(now)
        elif soon and self._later is None:
            self._later = asyncio.get_running_loop().call_later(rest_s, self._follow_later)

    def _follow_later(self) -> None:
        self._later = None
        self.follow(time.monotonic())

    def close(self) -> None:
        """Says no more."""
        if self._later is not None:
            self._later.cancel()

    def tick(self, now: float) -> None:
        """Forgets edges whose beat is overdue; sends a beat if one is due."""
        if not self._bus.connected:
            return  # they cannot be heard, and their calls go on
        since = now - self._overdue_s
        back = self._bus.connected_since > since
        gone = [] if back else [key for key, other in self._known.items() if other.heard < since]
        for edge_id in gone:
            del self._known[edge_id]
            for room in self.turns or ():
                room.forget(edge_id)
        self.follow(now)

    def _say(self, now: float) -> None:
        rooms = sorted(self.turns or (), key=lambda room: -room.running)[: edges.POOLS_MAX]
        counts = {room.pool: count for room in rooms if (count := room.count()) is not None}
        beat = EdgeBeat(edges.VERSION, self._edge_id, counts, self._asks)
        try:
            self._bus.publish(subjects.edge_beat(self._edge_id), edges.encode(beat))
        except BusError:
            return
        self._said_at, self._asks, self._asked = now, False, False
