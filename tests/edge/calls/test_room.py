"""A pool's places: how many a key may have, what is kept for others, and what several edges make of the same room."""

import pytest

from edge.calls.lanes import Lane
from edge.calls.room import IDLE_LANES_MAX, Room
from runtime.settings.fairness import FAIR, Fairness
from schemas.bus.edges import KEYS_MAX, KeyCount, PoolCount


def room(capacity: int = 100, rules: Fairness = FAIR) -> Room:
    """A pool without calls."""
    return Room("p", rules, capacity)


def fill(pool: Room, scope: str, most: int = 10**6) -> int:
    """Has a key take as many places as it may, at most so many. How many it has then."""
    lane = pool.lane(scope)
    while most and pool.admits(lane):
        pool.take(lane)
        most -= 1
    return lane.running


def test_a_key_alone_has_all_but_what_is_kept() -> None:
    """Nine tenths of the pool; the rest is for keys with nothing running, a place for each."""
    pool = room()
    assert fill(pool, "loud") == 90
    assert [fill(pool, f"k{at}") for at in range(12)] == [1] * 10 + [0, 0]
    assert pool.beyond_share(pool.lane("loud")) is False, "the pool is full: no key's own calls are to blame"


def test_what_is_kept_is_rounded_down() -> None:
    """A pool of fewer than ten places keeps none: its only key can have them all."""
    assert [fill(room(places), "a") for places in (1, 2, 9, 10, 19, 20)] == [1, 2, 9, 9, 18, 18]


@pytest.mark.parametrize("others", [1, 3, 9, 30])
def test_a_crowded_pool_is_shared(others: int) -> None:
    """Beside keys that have called lately one key takes half of the pool, and more than that only within its share."""
    pool = room()
    for at in range(others):
        fill(pool, f"k{at}", 1)
    loud = fill(pool, "loud")
    share = -(-100 // (others + 1))
    # The last one that it takes before more than half is taken brings that about.
    assert loud <= max(51 - others, share, (100 - others) // 4)
    assert loud >= min(50 - others, share)
    assert pool.beyond_share(pool.lane("loud")) is (loud + others < 100)


def test_a_quarter_of_what_is_free_is_the_least() -> None:
    """Where shares are smaller than a quarter of the free places, that quarter is what a key may have."""
    pool = room(100)
    for at in range(60):
        fill(pool, f"k{at}", 1)
    assert fill(pool, "late") == 8, (
        "40 are free: with 8 of its own it leaves 32, and a ninth would be above 8"
    )


def test_the_shares_are_configurable() -> None:
    """A pool may keep more for others, call itself crowded sooner or later, and give less of what is free."""
    assert fill(room(rules=Fairness(kept=0.5)), "a") == 50
    assert fill(room(rules=Fairness(kept=0)), "a") == 100
    pool = room(rules=Fairness(crowded=0, of_free=0, kept=0))
    for at in range(4):
        fill(pool, f"k{at}", 1)
    assert fill(pool, "loud") == 20
    pool = room(rules=Fairness(crowded=1, kept=0))
    fill(pool, "k", 1)
    assert fill(pool, "loud") == 99


def test_a_heavier_key_has_the_larger_share() -> None:
    """A share is by weight."""
    pool = room(rules=Fairness(crowded=0, of_free=0, kept=0))
    pool.lane("heavy").weight = 1
    fill(pool, "k", 1)
    heavy = Lane("heavy", weight=3)
    pool._weight += 2
    assert pool.admits(heavy)
    heavy.running = 75
    assert not pool.admits(heavy)


def test_without_beats_nobody_is_kept_out() -> None:
    """While no worker has told how many places there are, calls are offered: a worker says what it takes."""
    assert fill(room(0), "a", 500) == 500


def test_keys_are_forgotten() -> None:
    """A key without calls counts in the shares until it is swept out, and at most so many are remembered."""
    pool = room()
    lane = pool.lane("a")
    pool.take(lane)
    pool.give_back(lane)
    pool.rests(lane, 10.0)
    assert pool.sweep(9.0)
    assert pool.lane("a") is lane, "it has come back"
    assert pool.sweep(11.0), "and is not forgotten while it may have calls"
    pool.rests(lane, 12.0)
    assert not pool.sweep(12.0)
    for at in range(IDLE_LANES_MAX + 50):
        pool.rests(pool.lane(f"k{at}"), 13.0)
    count = pool.count()
    assert count is not None
    assert count.weight == IDLE_LANES_MAX


def test_two_edges_take_no_more_than_there_is() -> None:
    """Each has heard the other while the pool was empty: what both take before they hear again fits into it, kept part left."""
    one, two = room(), room()
    for pool in (one, two):
        pool.lane("loud")
    one.hear("two", two.count())
    two.hear("one", one.count())
    assert fill(one, "loud") + fill(two, "loud") <= 90
    assert one.guesses
    for _ in range(20):
        counts = one.count(), two.count()
        one.hear("two", counts[1])
        two.hear("one", counts[0])
        fill(one, "loud")
        fill(two, "loud")
    assert 90 <= one.running + two.running <= 91
    one.hear("two", two.count())
    assert not one.guesses
    assert one.admits(one.lane("other"))


def test_what_runs_elsewhere_counts_in_a_share() -> None:
    """A key with its share at one edge has no further one at another; one with nothing anywhere has the kept places."""
    pool, said = room(), PoolCount(60, 0, 5, (KeyCount("loud", 40), KeyCount("k", 1)))
    pool.hear("e2", said)
    assert fill(pool, "loud") == 0
    assert fill(pool, "new", 1) == 1
    fill(pool, "k")
    pool.hear("e2", said)
    assert fill(pool, "k") + 1 == 17, "6 keys share 100 places: those that are named twice count once"
    pool.forget("e2")
    assert fill(pool, "loud") > 30


def test_a_key_of_two_edges_has_one_weight() -> None:
    """Keys that several edges name are added up once, whichever came first: the other edge's word, or a call here."""
    pool = room()
    pool.lane("a")
    pool.hear("e2", PoolCount(2, 0, 3, (KeyCount("a", 1), KeyCount("b", 1))))
    pool.hear("e3", PoolCount(1, 0, 1, (KeyCount("b", 1),)))
    assert pool._weight == 3
    pool.lane("b")
    assert pool._weight == 3
    pool.rests(pool.lane("a"), 0.0)
    pool.sweep(0.0)
    assert pool._weight == 3
    pool.hear("e3", None)
    assert pool._weight == 3


def test_a_key_whose_calls_go_to_two_edges_counts_once() -> None:
    """Beside one quiet key a loud one has half of the pool, though both call at both edges, and the quiet one runs nothing now."""
    one, two = (room(rules=Fairness(crowded=0, of_free=0, kept=0)) for _ in range(2))
    for pool in (one, two):
        quiet = pool.lane("quiet")
        pool.rests(quiet, 0.0)
        pool.lane("loud")
    for _ in range(20):
        one.hear("two", two.count())
        two.hear("one", one.count())
        fill(one, "loud", 3)
        fill(two, "loud", 3)
    assert 50 <= one.running + two.running <= 53


def test_a_beat_names_the_heaviest() -> None:
    """Of many keys those with most calls are named, and all are counted."""
    pool = room(10**6)
    for at in range(KEYS_MAX + 20):
        fill(pool, f"k{at}", at + 1)
    count = pool.count()
    assert count is not None
    assert count.weight == KEYS_MAX + 20
    assert [key.running for key in count.heaviest] == list(range(KEYS_MAX + 20, 20, -1))
    assert room().count() is None
