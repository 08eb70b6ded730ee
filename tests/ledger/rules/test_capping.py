"""Caps as operators make, change and end them: what a new one counts, whom it bounds, and what is refused."""

import contextlib
from typing import Any

import pytest

from ledger.commits import load_capping
from ledger.store.base import StoreConflict, StoreRefused
from ledger.verbs.audit import findings
from schemas.money.pricing import TokenUsage
from schemas.verbs.caps import CapCreate, CapEnd, CapUpdate, NewCap
from schemas.verbs.keys import KeyCreate
from tests.ledger.harness import USD, Books, billed, digest_of, event
from tests.ledger.rules.capped import HELD, SMALL, SPENT, ms, refused


async def test_a_cap_made_in_mid_period_counts_what_was(books: Books) -> None:
    """A new cap has spent what the period's calls were billed, holds what open ones hold, and follows how they end."""
    key = await books.key()
    other = await books.key("other")
    await books.settle(*[event((await books.hold(f"yesterday{n}")).request_id, SMALL) for n in range(2)])
    over = await books.hold("over_midnight")
    books.clock.ms = ms("2026-11-19T00:00:01")
    await books.settle(event("over_midnight", SMALL))
    assert over.amount_nano == HELD
    holds = {name: await books.hold(name) for name in ("settled", "open", "estimated", "expired")}
    await books.hold("of_another", "other")
    await books.settle(event("settled", SMALL), event("of_another", SMALL))
    assert await books.estimate(holds["estimated"], SMALL)
    books.clock.turn(20)
    await books.committer.renew({"open"})
    books.clock.turn(15)
    assert await books.expire() == 2  # the expired one, and the estimate's grace
    second = await books.hold("second")
    assert await books.estimate(second, SMALL)
    cap = await books.cap(USD, key_id=key)
    assert await books.period(cap) == (3 * SPENT, HELD + HELD - SPENT)
    organization = await books.cap(USD, organization="default")
    assert await books.period(organization) == (4 * SPENT, HELD + HELD - SPENT)
    await books.check()
    more = TokenUsage(input=90, output=45)
    await books.settle(event("open", SMALL), event("second", more), event("expired", SMALL))
    assert await books.period(cap) == (4 * SPENT + billed(more), 0)
    assert await books.period(organization) == (5 * SPENT + billed(more), 0)
    assert await books.balance(other) == (5 * USD - SPENT, 0)
    await books.check()


async def test_lowering_stops_new_calls_only(books: Books) -> None:
    """A cap may go below what is spent and held: calls in flight are billed whole, new ones wait for a higher one or the next day."""
    key = await books.key()
    cap = await books.cap(3 * HELD, key_id=key)
    await books.settle(event((await books.hold("r1")).request_id, SMALL))
    await books.hold("r2")
    row = (await books.do(CapUpdate(1, cap, limit_nano=SPENT // 2, alert_percent=50))).rows[0]
    assert (row["version"], row["alert_percent"], row["current"]["remaining_nano"]) == (2, 50, 0)
    assert row["current"]["alert"]
    await refused(books, "r3")
    await books.settle(event("r2", SMALL))
    assert await books.period(cap) == (2 * SPENT, 0)
    assert (await refused(books, "r3")).cap.limit_nano == SPENT // 2
    await books.do(CapUpdate(1, cap, limit_nano=2 * SPENT + HELD))
    assert await books.release(await books.hold("r3"))
    await books.do(CapUpdate(1, cap, limit_nano=0))
    await refused(books, "r4")
    books.clock.turn(86_400)
    await refused(books, "r5")
    await books.do(CapUpdate(1, cap, limit_nano=HELD))
    await books.hold("r6")
    await books.check()


async def test_an_ended_cap_bounds_nothing(books: Books) -> None:
    """Ended, a cap stays in the books for its calls, its accounts are looked at no more, and its place is free."""
    key = await books.key()
    cap = await books.cap(HELD, key_id=key)
    await books.hold("r1")
    await refused(books, "r2")
    for _ in range(2):
        row = (await books.do(CapEnd(1, cap))).rows[0]
        assert row["ended_at"] == books.clock.ms // 1000
    assert not await _limited(books)
    await books.hold("r2")
    await books.settle(event("r1", SMALL), event("r2", SMALL))
    rows = await books.store.fetch("SELECT spent_nano, held_nano FROM cap_periods")
    assert [tuple(row) for row in rows] == [(SPENT, 0)]
    assert (await books.do(CapUpdate(1, cap, limit_nano=USD))).problem == f"cap {cap} has ended"
    again = await books.cap(USD, key_id=key)
    assert await books.period(again) == (2 * SPENT, 0)
    await books.check()


async def _limited(books: Books) -> set[str]:
    rows = await books.store.fetch("SELECT id FROM accounts WHERE limited")
    return {str(row[0]) for row in rows}


async def test_a_cap_bounds_all_keys_of_an_organisation(books: Books) -> None:
    """All its keys count together, new ones and those on playground credits too; keys of others do not."""
    a = await books.key("a", profile="acme")
    await books.key("stranger")
    cap = await books.cap(4 * HELD, organization="acme")
    b = await books.key("b", profile="acme")
    await books.key("play", 3 * USD, profile="acme", playground=True)
    assert await _limited(books) == {f"key:{a}", f"key:{b}", "playground:acme"}
    for name in ("a", "b", "play"):
        await books.hold(f"r-{name}", name)
    own = await books.cap(HELD, key_id=a)
    told = await refused(books, "r4", "a")
    assert told.cap is not None
    assert told.cap.id == own
    await books.hold("r4", "b")
    assert (await refused(books, "r5", "play")).cap.id == cap
    await books.hold("s1", "stranger")
    await books.do(CapEnd(1, cap))
    assert await _limited(books) == {f"key:{a}"}
    await refused(books, "r6", "a")
    await books.hold("r6", "play")
    await books.check()


async def test_a_key_is_made_with_its_caps(books: Books) -> None:
    """Caps that come with a new key bound its first call; if one of them is wrong, there is no key."""
    new = (NewCap("cap_1", "day", HELD), NewCap("cap_2", "month", USD, "Europe/Berlin", 50))

    def request(*caps: NewCap) -> KeyCreate:
        return KeyCreate(1, digest_of("key"), "key", "", USD, None, False, caps=caps)

    for wrong in (NewCap("cap_3", "year", 1), NewCap("cap_3", "week", -1), NewCap("cap_3", "day", 1)):
        assert (await books.do(request(*new, wrong))).problem
    assert not await books.store.fetch("SELECT id FROM api_keys")
    for _ in range(2):
        assert not (await books.do(request(*new))).problem
    await books.hold("r1")
    await refused(books, "r2")
    assert await books.period("cap_2") == (0, HELD)
    await books.check()


@pytest.mark.parametrize(
    ("cap", "problem"),
    [
        (NewCap("cap_1", "hour", 1), "period"),
        (NewCap("cap_1", "day", -1), "negative"),
        (NewCap("cap_1", "day", 2**62), "2 billion"),
        (NewCap("cap_1", "day", 1, "Mars/Olympus"), "time zone"),
        (NewCap("cap_1", "day", 1, "../../etc/passwd"), "time zone"),
        (NewCap("cap_1", "day", 1, "UTC\x00"), "time zone"),
        (NewCap("cap_1", "day", 1, "", 0), "percent"),
        (NewCap("cap_1@5", "day", 1), "id"),
        (NewCap("r1", "day", 1), "id"),
        (NewCap("cap_" + "1" * 80, "day", 1), "id"),
    ],
)
async def test_bad_caps_change_nothing(books: Books, cap: NewCap, problem: str) -> None:
    """A cap that cannot be is refused whole, in one sentence."""
    key = await books.key()
    reply = await books.do(CapCreate(1, cap, key))
    assert problem in reply.problem
    assert (await books.do(CapCreate(1, NewCap("cap_1", "day", 1)))).problem
    assert (await books.do(CapCreate(1, NewCap("cap_1", "day", 1), key, "default"))).problem
    assert (await books.do(CapCreate(1, NewCap("cap_1", "day", 1), "nobody"))).missing
    assert (await books.do(CapCreate(1, NewCap("cap_1", "day", 1), "", "nobody"))).missing
    assert (await books.do(CapUpdate(1, "cap_1", 1))).missing
    assert (await books.do(CapEnd(1, "cap_1"))).missing
    assert not await books.store.fetch("SELECT id FROM caps")
    assert not await _limited(books)


async def test_one_cap_a_period_made_once(books: Books) -> None:
    """The same request again makes one cap; another one of the same period, or another use of its id, is refused."""
    key = await books.key()
    first = CapCreate(1, NewCap("cap_1", "day", USD), key)
    assert (await books.do(first)) == (await books.do(first))
    await books.hold("r1")
    assert (await books.do(first)).rows[0]["current"]["held_nano"] == HELD
    assert (await books.do(CapCreate(1, NewCap("cap_2", "day", USD), key))).problem.startswith("cap_exists")
    assert (await books.do(CapCreate(1, NewCap("cap_1", "week", USD), key))).problem
    assert not (await books.do(CapCreate(1, NewCap("cap_3", "week", USD), key))).problem
    await books.check()


async def test_a_cap_after_too_many_calls_begins_with_the_next_period(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more calls than are counted in one commit a cap says when it begins, and bounds from then; one for all time is refused."""
    monkeypatch.setattr(load_capping, "CALLS_MAX", 1)
    key = await books.key()
    for number in range(2):
        await books.hold(f"r{number}")
        await books.settle(event(f"r{number}", SMALL))
    reply = await books.do(CapCreate(1, NewCap("cap_1", "day", HELD), key))
    assert reply.rows[0]["current"] is None
    assert reply.rows[0]["begins_at"] == ms("2026-11-19T00:00") // 1000
    assert "by month" in (await books.do(CapCreate(1, NewCap("cap_2", "total", HELD), key))).problem
    holds = [await books.hold(name) for name in ("free1", "free2")]
    books.clock.turn(86_400)
    await books.hold("r3")
    await refused(books, "r4")
    assert [await books.release(hold) for hold in holds] == [True, True]
    assert await books.period("cap_1") == (0, HELD)
    await books.check()


async def test_the_database_itself_refuses_more_than_a_cap(books: Books) -> None:
    """A statement that would cross a cap is refused, and the proof finds periods that are not what their calls make them."""
    cap = await books.cap(HELD, key_id=await books.key())
    await books.hold("r1")
    with pytest.raises(StoreRefused):
        async with books.store.write() as tx:
            await tx.execute("UPDATE cap_periods SET held_nano = held_nano + 1")
    for change, invariant in (
        ("held_nano = held_nano - 1", "I10"),
        ("spent_nano = 7, held_nano = held_nano - 7", "I10"),
        ("id = 'cap_other@0'", "I10"),
    ):
        assert invariant in await _found_after(books, change)
    assert await books.period(cap) == (0, HELD)
    await books.check()


async def _found_after(books: Books, change: str) -> set[str]:
    """The invariants that a change of periods breaks; it is taken back."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(StoreConflict):
        async with books.store.write() as tx:
            await tx.execute(f"UPDATE cap_periods SET {change}")
            found += await findings(tx)
            raise StoreConflict
    return {str(one["invariant"]) for one in found}


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_keys_without_caps_cost_no_statement(books: Books) -> None:
    """A call of a key without caps asks nothing about them, also beside others that have some, and after the last has ended."""
    seen: list[str] = []
    books.store._writer.set_trace_callback(seen.append)  # type: ignore[attr-defined]  # SQLite's own
    capped = await books.key("capped")
    await books.key()
    cap = await books.cap(USD, key_id=capped)
    await books.do(CapEnd(1, await books.cap(USD, organization="default")))
    for name in ("key", "capped"):
        seen.clear()
        await books.settle(event((await books.hold(f"r-{name}", name)).request_id, SMALL))
        assert any("cap_periods" in statement for statement in seen) == (name == "capped")
    await books.do(CapEnd(1, cap))
    seen.clear()
    assert await books.release(await books.hold("r-ended", "capped"))
    assert not any("caps" in statement or "cap_periods" in statement for statement in seen)
