"""The roster: what a brief beat stands for, what is not known of it, and which pools count as configured."""

from datetime import date

from msgspec import structs

from edge.calls.roster import POOLS_MAX, Roster
from schemas.bus.frames import AccountBeat, AccountState, Beat, ModelFact

FULL = Beat(
    v=1,
    worker_id="w",
    pool="p",
    provider="openai",
    inflight=0,
    capacity=2,
    accepting=True,
    models=("a", "b"),
    gone=("c",),
    accounts=(),
    digest="d1",
)
BRIEF = structs.replace(FULL, models=(), gone=())


def test_a_brief_beat_stands_for_what_was_said() -> None:
    """It keeps a worker alive with the models of its full beat, changes nothing, and counts its room."""
    roster = Roster(3.0)
    assert roster.hear(FULL, 0.0) == 2
    generation = roster.generation
    for second in range(1, 9):
        assert roster.hear(BRIEF, float(second)) == 2
        roster.sweep(float(second))
    assert roster.knows(BRIEF)
    assert (roster.serves("p", "a"), roster.gone("p", "c"), roster.generation) == (True, True, generation)
    assert roster.live() == {("p", "a"), ("p", "b")}


def test_places_are_those_that_can_be_taken() -> None:
    """What all workers can have at once: accounts out of use and workers that take nothing count with what they have."""
    roster = Roster(3.0)
    assert roster.places("p") == 0
    ok, cooling = AccountState.OK, AccountState.COOLING

    def hear(worker: str, *accounts: tuple[AccountState, int], accepting: bool = True) -> int:
        told = tuple(AccountBeat(str(at), state, used, 10) for at, (state, used) in enumerate(accounts))
        used = sum(used for _, used in accounts)
        beat = structs.replace(FULL, worker_id=worker, inflight=used, capacity=20, accepting=accepting)
        roster.hear(structs.replace(beat, accounts=told), 0.0)
        return roster.places("p")

    assert hear("a", (ok, 3), (ok, 0)) == 20
    assert hear("b", (ok, 3), (cooling, 4)) == 20 + 14
    assert hear("b", (cooling, 3), (cooling, 4)) == 20 + 20, "it is offered calls, to say why it takes none"
    assert hear("b", (ok, 10), (ok, 9), accepting=False) == 20 + 19
    assert hear("b", (ok, 0), (ok, 0)) == 40
    roster.hear(structs.replace(FULL, worker_id="a", capacity=7), 2.0)
    assert roster.places("p") == 27
    roster.sweep(3.5)
    assert roster.places("p") == 7
    roster.sweep(9.0)
    assert roster.places("p") == 0


def test_what_is_not_known_has_to_be_asked_for() -> None:
    """A stranger's brief beat serves nothing yet; after a change the old list holds until the new one has come."""
    roster = Roster(3.0)
    roster.hear(BRIEF, 0.0)
    assert not roster.knows(BRIEF)
    assert not roster.serves("p", "a")
    assert not roster.silent("p")
    roster.hear(FULL, 0.1)
    assert roster.knows(BRIEF)
    changed = structs.replace(BRIEF, digest="d2")
    roster.hear(changed, 0.2)
    assert not roster.knows(changed)
    assert roster.serves("p", "a")
    roster.hear(structs.replace(FULL, models=("b",), digest="d2"), 0.3)
    assert roster.knows(changed)
    assert (roster.serves("p", "a"), roster.serves("p", "b")) == (False, True)


def test_beats_without_a_digest_are_as_ever() -> None:
    """Short lists, and workers of the version before, say everything each time: also after one that had a digest."""
    roster = Roster(3.0)
    roster.hear(FULL, 0.0)
    roster.hear(structs.replace(FULL, digest="", models=()), 0.1)
    assert not roster.serves("p", "a")
    roster.hear(structs.replace(FULL, digest="", models=("z",)), 0.2)
    assert roster.serves("p", "z")


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


def test_what_lists_say_follows_the_workers() -> None:
    """Of what several workers say the stricter holds, an end only if all say so; a worker that leaves takes its word along."""
    roster = Roster(3.0)
    soon, later = date(2027, 1, 14), date(2027, 6, 1)
    facts = (ModelFact("up", retired=True, shutdown=later), ModelFact("other", max_output=9))
    one = structs.replace(beat("p"), worker_id="w1", facts=facts, unlisted=("m",))
    two = structs.replace(beat("p"), worker_id="w2", facts=(ModelFact("up", shutdown=soon, max_output=5),))
    told = [roster.told]
    for number, heard in enumerate((one, two)):
        roster.hear(heard, number * 10.0)
        told.append(roster.told)
    assert roster.fact("p", "up") == ModelFact("up", shutdown=soon, max_output=5)
    assert roster.fact("p", "other") == ModelFact("other", max_output=9)
    assert roster.fact("q", "up") is None
    assert roster.unlisted("p", "m")
    generation = roster.generation
    roster.hear(two, 10.5)
    assert roster.generation == generation
    roster.sweep(12.0)
    told.append(roster.told)
    assert (roster.fact("p", "other"), roster.unlisted("p", "m")) == (None, False)
    roster.sweep(99.0)
    assert (roster.fact("p", "up"), roster.told) == (None, "")
    assert len(set(told)) == 4
