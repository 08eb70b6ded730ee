"""Turns of keys whose calls wait for a pool: deficit round robin, by weight, one key's calls in their order."""

import pytest

from edge.calls.lanes import Lane, Line


class Call:
    """A call that waits."""

    pool = "p"
    model = "m"
    turn = None

    def __init__(self, name: str) -> None:
        self.request_id = name
        self.scope = name[0]

    def offer_again(self) -> None:
        """Nothing: the tests take calls out themselves."""

    def turned_away(self, error: object) -> None:
        """Nothing."""


def anybody(_: object) -> bool:
    return True


def filled(lanes: dict[str, Lane], *names: str) -> Line:
    """A line to which calls have come in this order; a name's first letter is its key."""
    line = Line()
    for name in names:
        line.add(lanes.setdefault(name[0], Lane(name[0])), Call(name), first=False)
    return line


def order(line: Line, admits=anybody, served=anybody) -> list[str]:
    """Names of the calls as they come out."""
    out = []
    while (call := line.next(admits, served)) is not None:
        out.append(call.request_id)
    return out


def test_keys_take_turns() -> None:
    """A key that came with many calls first has one of them between two of every other key's."""
    line = filled({}, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert (line.length, line.lanes) == (7, 3)
    assert order(line) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert (line.length, line.lanes) == (0, 0)


def test_a_key_takes_as_many_as_its_weight() -> None:
    """In one turn a key of weight 3 has three calls offered, a key of weight 1 one."""
    lanes = {"a": Lane("a", weight=3), "b": Lane("b")}
    line = filled(lanes, *(f"a{at}" for at in range(7)), *(f"b{at}" for at in range(3)))
    assert order(line) == ["a0", "a1", "a2", "b0", "a3", "a4", "a5", "b1", "a6", "b2"]


def test_nobody_saves_up_turns() -> None:
    """A key that could not use its turns while it had its share has one call a turn afterwards, as others."""
    line = filled({}, "a1", "a2", "a3", "b1", "b2", "b3")
    first = [line.next(lambda lane: lane.scope == "b", anybody) for _ in range(2)]
    assert [call.request_id for call in first if call] == ["b1", "b2"]
    assert order(line) == ["a1", "b3", "a2", "a3"]


def test_a_call_that_nobody_serves_holds_up_no_other() -> None:
    """A call whose model no worker serves keeps its place in its lane, and the next one of its key is offered."""
    line = filled({}, "a1", "a2", "b1")
    assert order(line, served=lambda call: call.request_id != "a1") == ["a2", "b1"]
    assert order(line) == ["a1"]


def test_a_call_that_comes_back_is_first_of_its_key() -> None:
    """A call for which a worker had no room after all is offered before its key's others, and no other key waits for it."""
    lanes: dict[str, Lane] = {}
    line = filled(lanes, "a1", "a2", "b1", "c1")
    for _ in range(2):
        call = line.next(anybody, anybody)
        assert call is not None
        line.add(lanes[call.scope], call, first=True)
    assert order(line) == ["c1", "a1", "b1", "a2"]


@pytest.mark.parametrize("gone", ["a1", "a2", "b1"])
def test_a_call_that_ends_leaves_the_line(gone: str) -> None:
    """Whoever waits no longer is never offered, and is not counted; taking it out twice does no harm."""
    lanes: dict[str, Lane] = {}
    line = filled(lanes, "a1", "a2", "b1")
    lane = lanes[gone[0]]
    call = lane.waiting[gone]
    line.remove(lane, call)
    line.remove(lane, call)
    assert line.length == 2
    assert gone not in order(line)


def test_the_longest_lane_is_by_weight() -> None:
    """Of a key with six calls and weight 3 and one with three and weight 1, the second has the longer lane."""
    lanes = {"a": Lane("a", weight=3), "b": Lane("b")}
    line = filled(lanes, *(f"a{at}" for at in range(6)), *(f"b{at}" for at in range(3)))
    longest = line.longest()
    assert longest is not None
    assert longest.scope == "b"
    assert Line().longest() is None
