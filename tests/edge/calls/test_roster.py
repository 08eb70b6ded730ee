"""Which pools an edge takes for configured: those of its settings, and those that a worker has spoken of."""

from edge.calls.roster import POOLS_MAX, Roster
from schemas.bus.frames import Beat


def beat(pool: str) -> Beat:
    """A worker of a pool."""
    return Beat(1, f"w-{pool}", pool, "openai", 0, 4, True, ("m",), (), ())


def test_a_pool_is_unset_until_somebody_speaks_of_it():
    """Settings are enough, and so is one beat, also when its worker is gone again; an edge that knows no pools assumes all."""
    roster = Roster(3.0, ("mine",))
    assert [roster.unset(pool) for pool in ("mine", "theirs")] == [False, True]
    roster.hear(beat("theirs"), 10.0)
    assert not roster.unset("theirs")
    roster.sweep(100.0)
    assert roster.silent("theirs")
    assert not roster.unset("theirs")
    assert not Roster(3.0).unset("any")


def test_what_is_remembered_of_pools_is_bounded():
    """However many pools come and go, so many are remembered."""
    roster = Roster(3.0, ())
    for number in range(3 * POOLS_MAX):
        roster.hear(beat(f"p{number}"), number * 10.0)
        roster.sweep(number * 10.0 + 5.0)
    assert len(roster._met) == POOLS_MAX
