"""What edges tell one another: when they beat, who answers whom, and when an edge is forgotten."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import msgspec
import pytest

from edge.calls.neighbours import EDGES_MAX, Neighbours
from edge.calls.turns import Turns
from edge.limits import LIMITS
from schemas.bus import edges, subjects
from schemas.bus.edges import EdgeBeat, KeyCount, PoolCount
from tests.edge.stand_ins import until
from tests.fakes.turns import Call, Roster, running


class Wire:
    """A bus that hands each message to all edges on it, a moment later."""

    def __init__(self) -> None:
        self.connected = True
        self.connected_since = 0.0
        self.edges: list[Edge] = []
        self.sent: list[EdgeBeat] = []

    def publish(self, subject: str, data: bytes) -> None:
        """One beat."""
        beat = edges.decode_beat(data)
        assert subject == subjects.edge_beat(beat.edge_id)
        self.sent.append(beat)
        for edge in self.edges:
            asyncio.get_running_loop().call_soon(edge.hear, data, None, subject)

    def by(self, name: str) -> list[EdgeBeat]:
        """What one edge has said."""
        return [beat for beat in self.sent if beat.edge_id == name]


class Edge:
    """One edge's turns and neighbours, on a pool of so many places."""

    publishes = True

    def __init__(self, wire: Wire, name: str, places: int = 100) -> None:
        self.name = name
        self.order: list[str] = []
        self.neighbours = Neighbours(wire, name, 3.0)
        self.turns = self.neighbours.turns = Turns(
            Roster(places),
            LIMITS,
            {},
            ask=self.neighbours.ask,
            met=self.neighbours.introduce,
            connected=lambda: True,
        )
        wire.edges.append(self)

    def hear(self, data: bytes, now: float | None = None, subject: str = "") -> None:
        """A message on the subject of beats; on its sender's own, unless told otherwise."""
        with contextlib.suppress(msgspec.MsgspecError):  # junk comes on some subject
            subject = subject or subjects.edge_beat(edges.decode_beat(data).edge_id)
        message = SimpleNamespace(subject=subject, data=data)
        self.neighbours.hear(message, time.monotonic() if now is None else now)

    def calls(self, scope: str, count: int) -> list[Call]:
        """So many calls of a key, one after another."""
        return [Call(self, scope).begin() for _ in range(count)]


async def test_a_new_edge_is_told_at_once() -> None:
    """Whoever comes greets the others, and they say what they run, though their next beat is not due."""
    wire = Wire()
    old = Edge(wire, "old")
    old.neighbours.greet(time.monotonic() - 0.5)
    old.calls("loud", 200)
    new = Edge(wire, "new")
    new.neighbours.greet(time.monotonic())
    assert [beat.asks for beat in wire.by("new")] == [True]
    await until(lambda: len(wire.by("old")) == 2)
    assert wire.by("old")[-1].pools == {"p": PoolCount(90, 110, 1, (KeyCount("loud", 90),))}
    assert running(new.calls("loud", 5)) == 0
    assert running(new.calls("other", 5)) == 1


async def test_an_edge_speaks_for_itself_alone() -> None:
    """A beat that comes on the subject of another edge counts for nobody: the bus lets each edge say only its own."""
    edge = Edge(Wire(), "one")
    beat = EdgeBeat(1, "two", {"p": PoolCount(9, 0, 1, (KeyCount("k", 9),))})
    edge.hear(edges.encode(beat), subject=subjects.edge_beat("three"))
    assert not edge.neighbours._known
    edge.hear(edges.encode(beat))
    assert set(edge.neighbours._known) == {"two"}


async def test_edges_fill_a_pool_together_and_no_further() -> None:
    """Two edges at which one key begins all it can at once come to nine tenths of the pool within some beats, and stay there."""
    wire = Wire()
    one, two = Edge(wire, "one"), Edge(wire, "two")
    for edge in (one, two):
        edge.neighbours.greet(time.monotonic())
    await until(lambda: one.neighbours._known and two.neighbours._known)
    calls = [*one.calls("loud", 100), *two.calls("loud", 100)]
    assert running(calls) <= 90
    await until(lambda: running(calls) == 90)
    await until(lambda: not one.turns.rooms["p"].guesses and not two.turns.rooms["p"].guesses)
    await asyncio.sleep(2 * edges.BEAT_GAP_S)
    said = len(wire.sent)
    await asyncio.sleep(2 * edges.BEAT_GAP_S)
    assert len(wire.sent) == said, "nobody asks when nobody would tell more"
    assert running(one.calls("b", 1) + two.calls("c", 1)) == 2
    assert running(calls) == 90


async def test_an_edge_that_is_gone_is_forgotten() -> None:
    """Its calls count until its beat is overdue, and then no more."""
    wire = Wire()
    edge = Edge(wire, "one", places=10)
    now = time.monotonic()
    edge.hear(edges.encode(EdgeBeat(1, "gone", {"p": PoolCount(9, 0, 1, (KeyCount("k", 9),))})), now)
    loud = edge.calls("loud", 12)
    assert running(loud) == 1
    edge.neighbours.tick(now + 2.9)
    edge.turns.tick(now + 2.9)
    assert running(loud) == 1
    edge.neighbours.tick(now + 3.1)
    edge.turns.tick(now + 3.1)
    assert running(loud) == 9


async def test_nobody_is_forgotten_while_the_bus_is_away() -> None:
    """Edges that cannot be heard still run their calls: they have their time again once NATS is back."""
    wire = Wire()
    edge = Edge(wire, "one", places=10)
    now = time.monotonic()
    edge.hear(edges.encode(EdgeBeat(1, "away", {"p": PoolCount(9, 0, 1, (KeyCount("k", 9),))})), now)
    loud = edge.calls("loud", 12)
    wire.connected = False
    edge.neighbours.tick(now + 60)
    wire.connected, wire.connected_since = True, now + 61
    edge.neighbours.tick(now + 63)
    edge.turns.tick(now + 63)
    assert running(loud) == 1
    edge.neighbours.tick(now + 65)
    edge.turns.tick(now + 65)
    assert running(loud) == 9


async def test_beats_are_regular() -> None:
    """An edge beats each second, with calls or without, so that the others know how many they are."""
    wire = Wire()
    edge = Edge(wire, "one")
    now = time.monotonic()
    for tick in range(1, 41):
        edge.neighbours.tick(now + tick * 0.25)
    assert 10 <= len(wire.sent) <= 11
    assert not wire.sent[-1].pools


@pytest.mark.parametrize(
    "beat",
    [
        b"\xc1",
        edges.encode(EdgeBeat(0, "e", {})),
        edges.encode(EdgeBeat(1, "e", {"p": PoolCount(-5, 0, 1)})),
        edges.encode(EdgeBeat(1, "e", {"p": PoolCount(5, 0, 10**12)})),
        edges.encode(EdgeBeat(1, "e", {f"p{at}": PoolCount(1, 0, 1) for at in range(edges.POOLS_MAX + 1)})),
        edges.encode(EdgeBeat(1, "one", {"p": PoolCount(10, 0, 1)})),
        msgspec.msgpack.encode([1, "e", {"p": [1, 0, 1, [["k", -1]]]}]),
        msgspec.msgpack.encode([1, "e", {"p": [10, 0, 1, [["k" * 65, 1]]]}]),
        msgspec.msgpack.encode([1, "e" * 65, {"p": [10, 0, 1]}]),
        msgspec.msgpack.encode([1, "e", {"p": [10, 0, 1, [["k", 1]] * (edges.KEYS_MAX + 1)]}]),
    ],
    ids=[
        "junk",
        "older",
        "negative",
        "huge",
        "many pools",
        "our own",
        "negative key",
        "long key",
        "long id",
        "many keys",
    ],
)
async def test_what_cannot_be_is_left_alone(beat: bytes) -> None:
    """Junk, figures that cannot be and an edge's own beat change nothing."""
    edge = Edge(Wire(), "one", places=10)
    edge.hear(beat)
    assert running(edge.calls("a", 20)) == 9


async def test_how_many_edges_are_known_is_bounded() -> None:
    """However many ids beats come from, only so many are kept."""
    edge = Edge(Wire(), "one", places=10)
    edge.calls("a", 1)
    for at in range(EDGES_MAX + 100):
        edge.hear(edges.encode(EdgeBeat(1, f"e{at}", {})))
    assert len(edge.neighbours._known) == len(edge.turns.rooms["p"]._others) == EDGES_MAX
