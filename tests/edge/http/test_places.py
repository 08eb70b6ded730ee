"""Who gives way to a new connection: strangers before callers, an address's own beyond its share, nobody at work."""

import json
import random

import pytest

from edge.http.places import ADDRESS_SHARE_LEAST, BODIES_SHARE_LEAST, LOG_GAP_S, Company, Places
from edge.http.places import Guest as Place


class Guest:
    """A connection that notes whether it gave way."""

    def __init__(self) -> None:
        self.company: Company | None = None
        self.line: dict[Place, None] | None = None
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
    places = Places(4)
    first, second, third, fourth = entered(places, 4)
    for guest in (first, second):
        places.receive(guest)
    places.work(fourth)
    late = Guest()
    assert places.enter(late, "b")
    assert (first.ended, third.ended) == (False, True)
    places.work(late)
    assert places.enter(Guest(), "c")
    assert (first.ended, second.ended, late.ended) == (True, False, False)


def test_who_was_known_gives_way_last() -> None:
    """Idle strangers, strangers with a body, idle callers, callers with a further body: each the longest first."""
    places = Places(10)
    guests = entered(places, 10)
    caller_body, caller_body_2, caller_2, caller, body, *idle, working, body_2 = guests
    for guest in (caller_body, caller_body_2, caller, caller_2):
        places.work(guest)
        places.trust(guest)
        places.rest(guest)
    for guest in (caller_body, caller_body_2, body, body_2):
        places.receive(guest)
    places.work(working)
    assert (places.working, places.receiving) == (1, 2)
    order = [*idle, body, body_2, caller, caller_2, caller_body, caller_body_2]
    for gone in range(len(order)):
        places.enter(late := Guest(), "b")
        places.work(late)
        assert [guest.ended for guest in order] == [True] * (gone + 1) + [False] * (len(order) - gone - 1)
    assert not places.enter(Guest(), "b")
    assert not working.ended


@pytest.mark.parametrize("known", [False, True], ids=["bodies of strangers", "idle callers"])
def test_no_line_shuts_out_the_others(known: bool) -> None:
    """A line of more than half of the connections gives way before those that stand before it, until it is no longer."""
    places = Places(10)
    guests = entered(places, 10)
    for guest in guests[:7]:
        if known:
            places.trust(guest)
            places.rest(guest)
        else:
            places.receive(guest)
    for _ in range(2):
        assert places.enter(Guest(), "b")
    assert [guest.ended for guest in guests] == [True] * 2 + [False] * 8
    assert places.enter(Guest(), "b")
    assert [guest.ended for guest in guests] == [True] * 2 + [False] * 5 + [True] + [False] * 2


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


def test_bodies_of_strangers_have_half() -> None:
    """Whatever room there is, strangers' bodies take no more than half of the connections: the longest gives way."""
    places = Places(4 * BODIES_SHARE_LEAST)
    most = places.most // 2
    caller, *guests = entered(places, most + 3)
    places.trust(caller)
    places.receive(caller)
    for number, guest in enumerate(guests):
        places.receive(guest)
        assert places.receiving == min(number + 1, most)
    assert [guest.ended for guest in guests] == [True] * 2 + [False] * most
    assert not caller.ended
    few = Places(4)
    for guest in entered(few, 4):
        few.receive(guest)
    assert few.receiving == 4


def test_of_an_address_as_well_who_was_known_gives_way_last() -> None:
    """Beyond its share an address's strangers give way before its callers, up to half of that share."""
    places = Places(20 * ADDRESS_SHARE_LEAST)
    entered(places, places.most // 2)
    share = ADDRESS_SHARE_LEAST
    own = entered(places, share, "10.9.0.1")
    for guest in own[: share // 2]:
        places.trust(guest)
        places.rest(guest)
    come_of_one = [Guest() for _ in range(2 * share)]
    for number, guest in enumerate(come_of_one):
        assert places.enter(guest, "10.9.0.1")
        assert [one.ended for one in own[share // 2 :]].count(True) == min(number + 1, share // 2)
    assert not any(guest.ended for guest in own[: share // 2])
    assert come_of_one[share].ended
    places.trust(come_of_one[-1])  # one more than half
    assert places.enter(Guest(), "10.9.0.1")
    assert [guest.ended for guest in own[: share // 2]] == [True] + [False] * (share // 2 - 1)


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
    places._bodies = 12  # fewer than there would be
    here: list[Guest] = []
    for _ in range(20_000):
        here = [guest for guest in here if not guest.ended]
        match dice.randrange(7):
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
            case 6 if here:
                places.trust(dice.choice(here))
        assert len(places) <= 40
        waiting = [guest for guest in here if guest.line is not None and not guest.ended]
        assert sum(map(len, places._lines())) == len(waiting) == len(places) - places.working
    left = Guest()
    for guest in [*here, left]:
        places.leave(guest)
        for change in (places.receive, places.work, places.rest, places.trust):
            change(guest)  # what was under way when it left
        assert guest.line is guest.company is None
    assert len(places) == places.working == 0
    assert not any(places._lines())
    assert not places._strangers.of
    assert not places._callers.of


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
