"""Which calls are offered, and which wait: in any order of arrivals and ends nobody below its share waits behind a loud key."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.limits import LIMITS
from runtime.settings.fairness import Fairness
from tests.fakes.turns import Call, Pool, running

SMALL = msgspec.structs.replace(LIMITS, waiting=12, waiting_per_key=6)


STEPS = st.lists(
    st.tuples(st.sampled_from(["loud", "quiet", "end", "burst"]), st.integers(0, 10**6)), max_size=120
)


@given(places=st.integers(1, 45), steps=STEPS)
def test_nobody_waits_behind_a_loud_key(places: int, steps: list[tuple[str, int]]) -> None:
    """A quiet key's call waits only while every place is taken, and then at most one turn of each other key that waits."""
    pool = Pool(places)
    calls: list[Call] = []
    ahead: dict[str, int] = {}  # quiet calls that wait: how many others may still be offered before them
    for what, at in steps:
        before = len(pool.order)
        if what in ("loud", "burst"):
            calls += pool.calls("loud", 1 if what == "loud" else 30)
        elif what == "end" and (live := [call for call in calls if call.runs]):
            live[at % len(live)].end()
        elif what == "quiet":
            scope = f"q{at % 6}"
            busy = any(call.scope == scope and call.turn is not None for call in calls)
            call = Call(pool, scope).begin()
            calls.append(call)
            if not call.runs and not busy:
                assert pool.room.running >= places, "a key with nothing running has any place that is free"
                ahead[call.request_id] = pool.room.line.lanes - 1
        for name in pool.order[before:]:
            ahead.pop(name, None)
            ahead = {other: left - 1 for other, left in ahead.items()}
            assert min(ahead.values(), default=0) >= 0, "it was overtaken by a key that had its turn"
        check(pool, calls, places)
    for call in calls:
        call.end()
    assert all(room.running == room.line.length == 0 for room in pool.turns)


def check(pool: Pool, calls: list[Call], places: int) -> None:
    """What always holds: counts agree, nothing is beyond the pool, and no call waits that might be offered."""
    room = pool.room if pool.turns.rooms else None
    if room is None:
        return
    assert room.running == running(calls) <= places
    assert room.line.length == sum(call.turn is not None and not call.turn.placed for call in calls)
    if room.running < places:
        lanes = {call.scope: call.turn.lane for call in calls if call.turn and not call.turn.placed}
        assert not [scope for scope, lane in lanes.items() if room.admits(lane)]
    loud = [call for call in calls if call.scope == "loud"]
    assert running(loud) <= max(places - places // 10, 1)


def test_a_share_shrinks_while_others_wait() -> None:
    """A key that has the whole pool gives each place that it gives back to the others, until all have as much."""
    pool = Pool(9)
    loud = pool.calls("loud", 40)
    assert running(loud) == 9
    others = [pool.calls(name, 5) for name in ("b", "c")]
    for _ in range(6):
        next(call for call in loud if call.runs).end()
    assert [running(calls) for calls in (loud, *others)] == [3, 3, 3]


def test_a_newcomer_has_a_kept_place() -> None:
    """A key of which nothing runs is offered at once beside a key that waits with its share."""
    pool = Pool(20)
    loud = pool.calls("loud", 50)
    assert running(loud) == 18
    assert running(pool.calls("a", 3)) == 1
    assert running(pool.calls("b", 1)) == 1
    assert running(pool.calls("c", 1)) == 0, "the pool is full"
    loud[0].end()
    assert [pool.room.lane(name).running for name in ("loud", "a", "b", "c")] == [17, 1, 1, 1]


def test_how_many_wait_is_bounded() -> None:
    """One key's calls beyond its bound are refused; those of a full line make room for a key with fewer."""
    pool = Pool(1, SMALL)
    first = pool.calls("x", 1)
    loud = pool.calls("a", 10)
    assert [call.error is not None for call in loud] == [False] * 6 + [True] * 4
    more = pool.calls("b", 6)
    assert pool.room.line.length == SMALL.waiting
    assert all(call.error is None for call in more)
    late = pool.calls("c", 5)
    assert [call.error is None for call in late] == [True] * 4 + [False]
    assert sum(call.error is not None for call in loud + more) == 4 + 4, (
        "two more of each, in turn, those that came last"
    )
    assert pool.room.line.length == SMALL.waiting
    for error in (call.error for call in loud + more + late if call.error):
        assert (error.status, error.code, error.retry_after_s) == (429, "rate_limit_exceeded", 1.0)
    first[0].end()
    assert loud[0].runs


def test_a_key_beyond_its_share_is_told_so() -> None:
    """Where a key's own calls keep it out, the 429 says that; where the pool is full, that."""
    pool = Pool(20)
    loud = pool.calls("loud", 30)
    assert "share" in pool.turns.no_room(loud[-1]).message
    pool.calls("a", 1)
    late = [pool.calls(name, 1)[0] for name in ("b", "c")]
    assert "No worker has room" in pool.turns.no_room(late[-1]).message


def test_nobody_overtakes_while_workers_are_full() -> None:
    """When a worker has refused a call, later ones wait behind it until a beat, an end or a tick gives reason to try."""
    pool = Pool(50)
    (refused,) = pool.calls("a", 1)
    refused.bounced()
    (later,) = pool.calls("b", 1)
    assert not refused.runs
    assert not later.runs
    pool.turns.on_beat("p", 1)
    assert refused.runs
    assert not later.runs, "the worker has told of one place"
    pool.turns.on_beat("p", 5)
    assert later.runs
    for call in (refused, later):
        call.bounced()
    pool.turns.tick(0.0)
    assert refused.runs != later.runs, "one is tried"


def test_a_pool_without_beats_is_tried_at_once() -> None:
    """Where no worker beats any more, calls are offered though others wait: so they learn that nobody is there."""
    pool = Pool(50)
    (refused,) = pool.calls("a", 1)
    refused.bounced()
    pool.roster.quiet = True
    assert pool.calls("b", 1)[0].runs


def test_what_cannot_be_published_waits_once() -> None:
    """While the bus takes nothing a call waits without being tried again and again, and keeps no place."""
    pool = Pool(50)
    pool.publishes = False
    calls = pool.calls("a", 3)
    assert pool.room.running == 0
    assert pool.room.line.length == 3
    pool.turns.tick(0.0)
    assert pool.room.line.length == 3
    pool.publishes = True
    pool.connected = False
    pool.turns.tick(0.0)
    assert running(calls) == 0
    pool.connected = True
    pool.turns.offer_waiting(again=True)
    assert running(calls) == 3


def test_nobody_is_refused_because_the_bus_is_away() -> None:
    """While NATS is away all calls wait, however many of one key: no key is to blame."""
    pool = Pool(50, SMALL)
    pool.connected = pool.publishes = False
    assert all(call.error is None for call in pool.calls("a", 30))


def test_a_call_for_a_model_that_nobody_serves_stops_no_other() -> None:
    """Calls for a served model pass one of the same key, and of other keys, whose model no worker serves now."""
    pool = Pool(50)
    pool.roster.unserved = {"gone"}
    pool.publishes = False
    stuck = Call(pool, "a", model="gone").begin()
    pool.publishes = True
    assert running(pool.calls("a", 2) + pool.calls("b", 1)) == 3
    assert not stuck.runs
    pool.roster.unserved = set()
    pool.turns.tick(0.0)
    assert stuck.runs


def test_a_candidate_of_another_pool_takes_its_place_there() -> None:
    """A call that goes on to another pool gives its place back where it was."""
    pool = Pool(2)
    moving, _ = pool.calls("a", 2)
    (waits,) = pool.calls("b", 1)
    moving.pool = "other"
    moving.begin()
    assert waits.runs
    assert pool.turns.rooms["other"].running == 1
    moving.end()
    assert pool.turns.rooms["other"].running == 0


def test_pools_and_keys_are_forgotten() -> None:
    """After its last call a key is remembered for a while, then it and its pool are not."""
    pool = Pool(5)
    (call,) = pool.calls("a", 1)
    began = pool.turns._now
    call.end()
    pool.turns.tick(began + LIMITS.recent_s - 1)
    assert "p" in pool.turns.rooms
    pool.turns.tick(began + LIMITS.recent_s + 1)
    assert not pool.turns.rooms


@pytest.mark.parametrize("weights", [(1, 1), (3, 1)])
def test_places_follow_weights(weights: tuple[int, int]) -> None:
    """Two keys that always want more hold places by their weights once each of those that ran before has ended."""
    pool = Pool(8, rules=Fairness(crowded=0, of_free=0, kept=0))
    loud = pool.calls("a", 40)
    lane = pool.room.lane("b")
    pool.room._weight += weights[0] - 1
    pool.room.lane("a").weight = weights[0]
    other = pool.calls("b", 40)
    for _ in range(60):
        live = [call for call in loud + other if call.runs]
        live[0].end()
        loud += pool.calls("a", 1)
        other += pool.calls("b", 1)
    assert lane.running == 8 * weights[1] // sum(weights)
    assert running(loud) == 8 - lane.running
