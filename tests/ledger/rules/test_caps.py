"""Spend caps: what is spent and held in a period never exceeds its cap, and each call counts in the periods of its hold."""

import pytest

from ledger.commits.commit import Delivery
from schemas.bus.usage import Outcome
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold, Reason, Refusal
from schemas.verbs.caps import CapUpdate
from tests.ledger.harness import USD, Books, billed, event
from tests.ledger.rules.capped import HELD, SMALL, SPENT, ms, refused


async def test_a_cap_grants_what_fits(books: Books) -> None:
    """Holds fit a cap exactly; one more is refused with the figures; what a call did not use can be used again."""
    cap = await books.cap(2 * HELD, key_id=await books.key())
    first = await books.hold("r1")
    await books.hold("r2")
    told = await refused(books, "r3")
    assert told.cap is not None
    assert (told.cap.id, told.cap.scope, told.cap.period, told.cap.zone) == (cap, "key", "day", "UTC")
    assert (told.cap.limit_nano, told.cap.spent_nano, told.cap.held_nano) == (2 * HELD, 0, 2 * HELD)
    assert (told.required_nano, told.fitting_limit) == (HELD, 0)
    await books.settle(event("r1", SMALL))
    assert await books.period(cap) == (SPENT, HELD)
    told = await refused(books, "r4")
    assert told.cap is not None
    assert (told.cap.spent_nano, told.cap.held_nano) == (SPENT, HELD)
    last = await books.hold("r5", prompt=10, limit=told.fitting_limit)
    assert last.amount_nano <= first.amount_nano - SPENT
    await books.check()


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "one by one"])
async def test_many_at_once_are_granted_what_fits(books: Books, together: bool) -> None:
    """Of twenty calls exactly the ten that fit are granted, in one commit as one after another."""
    cap = await books.cap(10 * HELD + HELD // 2, key_id=await books.key())
    requests = [books.request(f"r{number:02d}") for number in range(20)]
    replies = await books.commit(requests) if together else [await books.do(one) for one in requests]
    assert [isinstance(reply, Hold) for reply in replies] == [True] * 10 + [False] * 10
    assert await books.period(cap) == (0, 10 * HELD)
    await books.check()


async def test_keys_that_begin_a_period_together(books: Books) -> None:
    """In the first commit of a day several keys share one organisation's period, cap by cap, and none gets what another has.

    The same commit settles a call of the day before, which stays there.
    """
    keys = [await books.key(name, profile="acme") for name in ("a", "b")]
    shared = await books.cap(3 * HELD, organization="acme")
    own = await books.cap(HELD, key_id=keys[0])
    await books.hold("before", "a")
    books.clock.turn(86_400)
    requests = [books.request(f"r{number}", "ab"[number % 2]) for number in range(6)]
    books.sequence += 1
    delivery = Delivery("s", books.sequence, (event("before", SMALL),))
    replies = (await books.commit(requests, [delivery]))[:6]
    assert [isinstance(reply, Hold) for reply in replies] == [True, True, False, True, False, False]
    assert await books.period(shared) == (0, 3 * HELD)
    assert await books.period(own) == (0, HELD)
    old = await books.store.fetch("SELECT spent_nano, held_nano FROM cap_periods WHERE spent_nano > 0")
    assert [tuple(row) for row in old] == [(SPENT, 0)] * 2
    books.sequence += 1
    later = [books.request(f"s{number}", "b") for number in range(2)]
    delivery = Delivery("s", books.sequence, (event("r0", SMALL), event("r1", SMALL)))
    assert [isinstance(one, Hold) for one in await books.commit(later, [delivery])] == [False, False]
    assert await books.period(shared) == (2 * SPENT, HELD)
    assert isinstance(await books.authorise("s2", "b"), Hold)
    await books.check()


async def test_an_unset_limit_is_granted_what_the_cap_affords(books: Books) -> None:
    """A call without a limit gets what balance and cap both afford; below the least of such a call it is refused."""
    key = await books.key(nano=50 * USD)
    assert (await books.hold("r0", limit=None)).limit == 16_384
    cap = await books.cap(USD // 100, key_id=key)
    await books.do(CapUpdate(1, cap, limit_nano=(await books.period(cap))[1] + USD // 100))
    hold = await books.hold("r1", limit=None)
    assert hold.limited
    assert 256 <= hold.limit < 4_096
    assert hold.amount_nano <= USD // 100
    told = await refused(books, "r2", limit=None)
    assert told.fitting_limit < 256
    await books.check()


async def test_the_tightest_speaks(books: Books) -> None:
    """Of several caps the one with the least left is told, and the balance where that has less."""
    key = await books.key(nano=5 * HELD)
    await books.cap(4 * HELD, "total", key_id=key)
    month = await books.cap(2 * HELD, "month", organization="default", zone="Europe/Berlin")
    await books.hold("r1")
    await books.hold("r2")
    told = await refused(books, "r3")
    assert told.cap is not None
    assert (told.cap.id, told.cap.scope, told.cap.zone) == (month, "org", "Europe/Berlin")
    assert told.cap.resets_s == ms("2026-11-30T23:00") // 1000
    await books.do(CapUpdate(1, month, limit_nano=USD))
    await books.hold("r3")
    await books.hold("r4")
    told = await refused(books, "r5")
    assert told.cap is not None
    assert (told.cap.period, told.cap.resets_s) == ("total", 0)
    poor = await books.key("poor", HELD - 1)
    await books.cap(HELD - 1, key_id=poor)  # as little as the balance: the balance speaks
    reply = await books.authorise("p1", "poor")
    assert isinstance(reply, Refusal)
    assert (reply.reason, reply.cap) == (Reason.INSUFFICIENT, None)
    await books.check()


BOUNDARIES = [
    ("day", "UTC", "2026-11-26T23:59:59", "2026-11-27T00:00:00"),
    ("day", "Europe/Berlin", "2026-03-28T22:59:59", "2026-03-28T23:00:00"),
    ("day", "Europe/Berlin", "2026-03-29T21:59:59", "2026-03-29T22:00:00"),  # the end of 23 hours
    ("day", "America/New_York", "2026-11-02T04:59:59", "2026-11-02T05:00:00"),  # of 25
    ("day", "Africa/Cairo", "2026-04-23T21:59:59", "2026-04-23T22:00:00"),  # a day without midnight
    ("day", "America/Santiago", "2026-04-05T03:59:59", "2026-04-05T04:00:00"),  # 23:00 to 24:00 came twice
    ("week", "Australia/Lord_Howe", "2026-10-04T12:59:59", "2026-10-04T13:00:00"),
    ("month", "Asia/Kathmandu", "2026-11-30T18:14:59", "2026-11-30T18:15:00"),
]


@pytest.mark.parametrize(("period", "zone", "before", "after"), BOUNDARIES)
async def test_a_call_counts_where_its_hold_was_taken(
    books: Books, period: str, zone: str, before: str, after: str
) -> None:
    """Whatever ends calls after a boundary counts before it; the new period begins empty, and clocks that go back change nothing."""
    books.clock.ms = ms(before)
    cap = await books.cap(4 * HELD, period, key_id=await books.key(), zone=zone)
    holds = [await books.hold(f"old{number}") for number in range(4)]
    await refused(books, "full")
    books.clock.ms = ms(after)
    await books.hold("new")
    assert await books.period(cap) == (0, HELD)
    await books.settle(event("old0", SMALL))
    assert await books.release(holds[1])
    assert await books.estimate(holds[2], TokenUsage(input=10))
    await books.settle(event("old2", SMALL))
    assert await books.period(cap) == (0, HELD)
    books.clock.turn(-3_600)
    assert await books.period(cap) == (2 * SPENT, HELD)  # old3
    last = await books.hold("again")
    books.clock.turn(3_600)
    await books.settle(event("again", SMALL), event("old3", SMALL))
    assert last.amount_nano == HELD
    assert await books.period(cap) == (0, HELD)
    books.clock.turn(-3_600)
    assert await books.period(cap) == (4 * SPENT, 0)
    await books.check()


async def test_all_that_ends_a_call_keeps_its_periods_true(books: Books) -> None:
    """Settled, released, estimated, corrected, forgiven, expired and billed late: spent is what was billed, and nothing stays held."""
    cap = await books.cap(USD, key_id=await books.key())
    holds = {
        name: await books.hold(name) for name in ("settled", "released", "over", "failed", "gone", "late")
    }
    await books.settle(event("settled", SMALL))
    assert await books.release(holds["released"])
    assert await books.estimate(holds["over"], TokenUsage(input=90, output=45))
    assert await books.estimate(holds["failed"], SMALL)
    assert await books.estimate(holds["failed"], SMALL, failed=True)
    assert await books.period(cap) == (
        SPENT + billed(TokenUsage(input=90, output=45)),
        2 * HELD + (await _held(books, "over")),
    )
    books.clock.turn(40)
    assert await books.expire() == 3
    assert (await books.period(cap))[1] == 0
    await books.settle(event("over", SMALL), event("late", SMALL, outcome=Outcome.CANCELLED))
    assert await books.period(cap) == (3 * SPENT, 0)
    await books.check()


async def _held(books: Books, request_id: str) -> int:
    rows = await books.store.fetch("SELECT held_nano FROM holds WHERE request_id = $1", request_id)
    return int(rows[0][0])


@pytest.mark.uncollected("a late report meets a cap that has no room left")
async def test_a_late_report_charges_at_most_what_the_cap_leaves(books: Books) -> None:
    """A call that expired and is reported afterwards pays what its own period has left; the rest is uncollected."""
    cap = await books.cap(HELD + SPENT // 2, key_id=await books.key())
    await books.hold("late")
    books.clock.turn(40)
    assert await books.expire() == 1
    await books.hold("other")
    await books.settle(event("late", SMALL))
    assert await books.period(cap) == (SPENT // 2, HELD)
    assert (await books.check())["uncollected_nano"] == SPENT - SPENT // 2


@pytest.mark.uncollected("what the cap's period leaves no room for")
async def test_a_period_that_is_over_keeps_its_limit(books: Books) -> None:
    """A cap that is raised the day after leaves a late report no more than the limit of the call's own day."""
    cap = await books.cap(HELD, key_id=await books.key())
    hold = await books.hold("r1")
    assert await books.estimate(hold, TokenUsage(input=10, output=10))
    books.clock.turn(31)
    await books.expire()  # the rest of the hold is free again
    await books.hold("r2", prompt=10, limit=100)
    books.clock.turn(86_400)
    await books.do(CapUpdate(1, cap, limit_nano=10 * HELD))
    await books.settle(event("r1", TokenUsage(input=100, output=100)))
    await books.check()
    (row,) = await books.store.fetch("SELECT spent_nano, held_nano, ceiling_nano FROM cap_periods")
    assert row[2] == HELD
    assert row[0] + row[1] == HELD, "all that its own limit leaves"
