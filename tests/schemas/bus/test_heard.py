"""What is kept of workers' lists: equal ones once, all of them bounded, and given back when nobody says them any more."""

import tracemalloc

import pytest
from msgspec import structs

from edge.calls.roster import SEATS_MAX, Roster
from ledger.verbs.beats import WORKERS_MAX, Beats
from runtime.bus.bus import Message
from schemas.bus.frames import Beat, encode
from schemas.bus.heard import LISTS_BYTES_MAX, Kept

FORGED = 1_200
NAMES = 50
MEMORY_MAX_BYTES = 3 * LISTS_BYTES_MAX // 2


def forged(number: int, names: int = NAMES) -> Beat:
    """A full beat of a worker that there is not, with names that nobody else says."""
    models = tuple(f"model-{number}-{index:05}-{'x' * 700}" for index in range(names))
    return Beat(1, f"w{number}", "p", "openai", 0, 1, accepting=True, models=models, gone=(), accounts=())


def test_equal_lists_are_kept_once() -> None:
    """A thousand workers that serve the same take the room of one, and the last to leave gives it back."""
    kept, beat = Kept(), forged(0)
    taken = [kept.take(structs.replace(beat, worker_id=f"w{number}"), 40_000) for number in range(1_000)]
    assert len(set(map(id, taken))) == 1
    assert kept.count_bytes == 40_000
    for lists in taken:
        assert lists is not None
        assert kept.count_bytes == 40_000
        kept.give_back(lists)
    assert kept.count_bytes == 0


@pytest.mark.parametrize("listener", ["edge", "ledger"])
def test_forged_beats_take_bounded_memory(listener: str) -> None:
    """Twelve hundred workers with long lists of their own: what is kept is bounded, and goes with them."""
    roster, beats = Roster(3.0), Beats()
    tracemalloc.start()
    try:
        for number in range(FORGED):
            beat = forged(number)
            data = encode(beat)
            if listener == "edge":
                roster.hear(beat, 0.0, len(data))
            else:
                beats.on_beat(Message("", "", data))
            del beat, data
        assert tracemalloc.get_traced_memory()[0] < MEMORY_MAX_BYTES
        roster.sweep(60.0)
        if listener == "edge":
            assert tracemalloc.get_traced_memory()[0] < LISTS_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_an_honest_worker_beside_forged_ones_that_left() -> None:
    """Once those are overdue, there is room again."""
    roster = Roster(3.0)
    for number in range(FORGED):
        roster.hear(forged(number), 0.0, LISTS_BYTES_MAX // 100)
    late = forged(FORGED)
    assert roster.hear(late, 1.0, LISTS_BYTES_MAX // 100) == 0
    assert not roster.serves("p", late.models[0])
    roster.sweep(3.5)
    assert roster.hear(late, 4.0, LISTS_BYTES_MAX // 100) == 1
    assert roster.serves("p", late.models[0])


def test_a_worker_that_was_held_up_is_known_again() -> None:
    """After a pause its first beat is brief, and a ledger knows by it what the worker serves; after a long one it does not."""
    now = [0.0]
    beats = Beats(lambda: now[0])
    full = structs.replace(forged(0), digest="d")
    beats.on_beat(Message("", "", encode(full)))
    brief = Message("", "", encode(full.without_lists()))
    now[0] = 20.0
    assert beats.live() == {}
    beats.on_beat(brief)
    assert [beat.models for beat in beats.live()["p"]] == [full.models]
    now[0] = 200.0
    beats.on_beat(brief)
    assert [beat.models for beat in beats.live()["p"]] == [()]


def test_who_went_gives_way_in_a_ledger() -> None:
    """Lists and seats of workers that are silent are kept only while nobody needs the room."""
    now = [0.0]
    beats = Beats(lambda: now[0])
    for number in range(WORKERS_MAX):
        one = forged(number, 1)
        beats.on_beat(Message("", "", encode(one)))
    now[0] = 10.0
    late = forged(WORKERS_MAX, 12_000)  # some 9 MB: there is room once the others' lists are given back
    beats.on_beat(Message("", "", encode(late)))
    assert [beat.models for beat in beats.live()["p"]] == [late.models]
    later = forged(WORKERS_MAX + 1, 12_000)
    now[0] = 20.0
    beats.on_beat(Message("", "", encode(later)))
    assert [beat.models for beat in beats.live()["p"]] == [later.models]


def test_workers_are_bounded() -> None:
    """However many pools they name."""
    roster, beats = Roster(3.0), Beats()
    for number in range(SEATS_MAX + 100):
        beat = structs.replace(forged(number, 1), pool=f"p{number % 100}")
        roster.hear(beat, 0.0, 10)
        beats.on_beat(Message("", "", encode(beat)))
    assert len(roster.live()) == SEATS_MAX
    assert sum(map(len, beats.live().values())) <= WORKERS_MAX
