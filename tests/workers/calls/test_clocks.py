import pytest

from workers.calls.clocks import QUEUED_MS_MAX, SKEWS_MAX, Clocks

NOW = 1_795_700_000_000
HOUR = 3_600_000


@pytest.mark.parametrize("skew", [0, 1, -1, 900, 2 * HOUR, -2 * HOUR, 365 * 24 * HOUR])
def test_what_clocks_differ_by_is_no_wait(skew):
    """With clocks hours apart the first job is as fast as any, and one that waits is told to the millisecond."""
    clocks = Clocks()
    told = [
        clocks.queued_ms("e", NOW + at - skew, NOW + at + waited) for at, waited in enumerate((0, 250, 3, 0))
    ]
    near = abs(skew) <= 900 and skew >= 0
    assert told == [waited + (skew if near else 0) for waited in (0, 250, 3, 0)]


def test_a_clock_that_is_set_is_learnt_anew():
    """Forward or backward, a clock that is set shows in no figure."""
    clocks = Clocks()
    for skew in (0, 2 * HOUR, -HOUR, 5_000, 0):
        assert 0 <= clocks.queued_ms("e", NOW - skew, NOW + 20) <= QUEUED_MS_MAX


def test_edges_are_told_apart_and_bounded():
    """Each edge has a clock of its own, and those that are remembered have a bound."""
    clocks = Clocks()
    assert clocks.queued_ms("far", NOW - 2 * HOUR, NOW) == 0
    assert clocks.queued_ms("near", NOW - 40, NOW) == 40
    assert clocks.queued_ms("far", NOW - 2 * HOUR, NOW + 70) == 70
    for number in range(10 * SKEWS_MAX):
        clocks.queued_ms(f"e{number}", NOW, NOW)
    assert len(clocks._least_ms) == SKEWS_MAX
