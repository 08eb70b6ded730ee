"""Who gives way to a new connection: the one longest without a request, an address's own beyond its share, nobody at work."""

import json
import random

import pytest

from edge.http.places import ADDRESS_SHARE_LEAST, LOG_GAP_S, Places


class Guest:
    """A connection that notes whether it gave way."""

    def __init__(self) -> None:
        self.ended = False

    def give_way(self) -> None:
        """Notes it."""
        self.ended = True


def entered(places: Places, count: int, address: str = "") -> list[Guest]:
    guests = [Guest() for _ in range(count)]
    for number, guest in enumerate(guests):
        assert places.enter(guest, address or f"10.0.0.{number}")
    return guests


def test_the_longest_without_a_request_gives_way() -> None:
    """At the limit a new connection takes the place of that which has been without a request longest."""
    places = Places(3)
    first, second, third = entered(places, 3)
    places.work(first)
    places.rest(first)  # its request is answered: it is the newest now
    assert places.enter(Guest(), "b")
    assert (first.ended, second.ended, third.ended) == (False, True, False)
    assert places.enter(Guest(), "b")
    assert (first.ended, third.ended) == (False, True)
    assert len(places) == 3


def test_a_body_gives_way_after_all_that_rest() -> None:
    """A connection whose body is on its way gives way only when none is without a request."""
    places = Places(3)
    first, second, third = entered(places, 3)
    for guest in (first, second):
        places.receive(guest)
    assert places.enter(Guest(), "b")
    assert (first.ended, third.ended) == (False, True)
    places.work(second)
    fourth = Guest()
    assert places.enter(fourth, "c")
    places.receive(fourth)
    assert not first.ended
    assert places.enter(Guest(), "d")
    assert (first.ended, fourth.ended) == (True, False)


def test_nobody_at_work_gives_way() -> None:
    """While all have requests of a key, a new connection is refused, and leaves no trace."""
    places = Places(2)
    guests = entered(places, 2)
    for guest in guests:
        places.work(guest)
    late = Guest()
    assert not places.enter(late, "b")
    places.leave(late)
    assert not any(guest.ended for guest in guests)
    assert (len(places), places.working) == (2, 2)
    places.leave(guests[0])
    assert places.enter(late, "b")


def test_an_address_has_a_share_only_while_it_is_crowded() -> None:
    """Up to half of the connections one address may have; beyond, its own give way to its own new ones."""
    most = 20 * ADDRESS_SHARE_LEAST
    places = Places(most)
    greedy = entered(places, most // 2, "10.0.0.1")
    assert not any(guest.ended for guest in greedy)
    other = Guest()
    assert places.enter(other, "10.0.0.2")
    for number in range(5):
        places.work(greedy[number])
    for number in range(5, 15):
        assert places.enter(Guest(), "10.0.0.1")
        assert [guest.ended for guest in greedy[5 : number + 1]] == [True] * (number - 4)
    assert not any(guest.ended for guest in [other, *greedy[:5], *greedy[15:]])
    assert len(places) == most // 2 + 1


def test_an_address_whose_all_work_is_refused_beyond_its_share() -> None:
    """An address whose every connection has a request gets no further one while it is crowded; others do."""
    most = 20 * ADDRESS_SHARE_LEAST
    places = Places(most)
    guests = entered(places, most // 2 + 1, "10.0.0.1")
    for guest in guests:
        places.work(guest)
    assert not places.enter(Guest(), "10.0.0.1")
    assert places.enter(Guest(), "10.0.0.2")
    assert places.enter(Guest(), "")  # a trusted proxy's own: it has no share


def test_nothing_is_kept_of_who_has_left() -> None:
    """However connections come, are named, work, rest and leave, nothing of them stays, and no limit is passed."""
    dice = random.Random(7)
    places = Places(40)
    here: list[Guest] = []
    for _ in range(20_000):
        here = [guest for guest in here if not guest.ended]
        match dice.randrange(6):
            case 0 | 1:
                guest = Guest()
                if places.enter(guest, dice.choice(["", "a", "b", "c"])):
                    here.append(guest)
                else:
                    places.leave(guest)
            case 2 if here:
                places.receive(dice.choice(here))
            case 3 if here:
                places.work(dice.choice(here))
            case 4 if here:
                places.rest(dice.choice(here))
            case 5 if here:
                places.leave(here.pop(dice.randrange(len(here))))
        assert len(places) <= 40
    for guest in here:
        places.leave(guest)
    assert len(places) == places.working == 0
    assert not places._of


def test_a_flood_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many give way, a minute has one line about it, and the next says how many there were."""
    now = [100.0]
    monkeypatch.setattr("edge.http.places.time.monotonic", lambda: now[0])
    places = Places(1)
    for _ in range(1_000):
        places.enter(Guest(), "a")
    now[0] += LOG_GAP_S
    places.enter(Guest(), "a")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["since_the_last_line"] for line in lines] == [1, 999]
