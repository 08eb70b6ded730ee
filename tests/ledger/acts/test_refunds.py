"""Refunds of calls: in full, in part, several, too much, of estimates with a late report, and beside an edge's own."""

from typing import Any

import pytest

from schemas.bus.usage import Outcome
from schemas.money.pricing import TokenUsage
from schemas.verbs.caps import CapCreate, NewCap
from schemas.verbs.money import Post, Refund
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=80, output=40)
LARGE = TokenUsage(input=100, output=90)


async def _refund(books: Books, request_id: str, nano: int = 0, **fields: Any) -> Any:
    return await books.act("refund", Refund(1, request_id, nano, **fields))


async def _bill(books: Books, request_id: str) -> tuple[int, int, bool]:
    rows = await books.store.fetch(
        "SELECT billed_nano, refunded_nano, bill_final FROM usage WHERE request_id = $1 AND slot = 0",
        request_id,
    )
    return int(rows[0][0]), int(rows[0][1]), bool(rows[0][2])


async def _spent(books: Books, key: str) -> int:
    rows = await books.store.fetch("SELECT spent_nano FROM accounts WHERE id = $1", f"key:{key}")
    return int(rows[0][0])


async def test_in_parts_and_in_full(books: Books) -> None:
    """Parts add up to the bill and no further; balance, what was spent, the call and the list of credits follow."""
    key = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", SMALL))
    owed = billed(SMALL)
    assert await _spent(books, key) == owed
    first = await _refund(books, "r1", owed // 3, reason="slow", reference="t-1")
    assert first.rows[0]["net_nano"] == owed - owed // 3
    assert "at most" in (await _refund(books, "r1", owed)).problem
    assert "t-1 was used" in (await _refund(books, "r1", 1, reference="t-1")).problem
    assert (await _refund(books, "r1")).rows[0]["credit"]["amount_nano"] == owed - owed // 3
    assert "refunded in full" in (await _refund(books, "r1")).problem
    assert await books.balance(key) == (5 * USD, 0)
    assert await _spent(books, key) == 0
    (row,) = await books.usage()
    assert (row["billed_nano"], row["refunded_nano"], row["net_nano"]) == (owed, owed, 0)
    transfers = await books.store.fetch(
        "SELECT request_id, attempt, debit, credit FROM transfers WHERE kind = 'refund' ORDER BY attempt"
    )
    assert [tuple(one) for one in transfers] == [("r1", number, "revenue", f"key:{key}") for number in (1, 2)]
    await books.check()


async def test_what_has_no_bill(books: Books) -> None:
    """A call that is unknown, has not ended, cost nothing, was released or has expired has nothing to refund."""
    await books.key()
    hold = await books.hold("open")
    free, released, expired = [await books.hold(name) for name in ("free", "released", "expired")]
    await books.settle(event("free"))
    await books.release(released)
    books.clock.turn(100)
    await books.committer.renew({"open"})
    await books.expire()
    for request_id, words in (
        ("none", "no call none"),
        (hold.request_id, "has not ended"),
        (free.request_id, "cost nothing"),
        (released.request_id, "was not billed"),
        (expired.request_id, "cost nothing"),
    ):
        for nano in (0, 1):
            assert words in (await _refund(books, request_id, nano)).problem
    assert "nothing" in (await _refund(books, "free", -1)).problem
    await books.check()


@pytest.mark.parametrize("grace", [False, True], ids=["within-its-grace", "after-it"])
async def test_of_an_estimate_with_a_late_report(books: Books, grace: bool) -> None:
    """A refund makes the bill final: the report that comes later corrects only what the call cost us."""
    key = await books.key()
    hold = await books.hold("r1")
    await books.estimate(hold, SMALL)
    if grace:
        books.clock.turn(100)
        await books.expire()
    assert (await _refund(books, "r1", 1_000)).rows[0]["held_nano"] == 0
    await books.settle(event("r1", LARGE))
    assert await _bill(books, "r1") == (billed(SMALL), 1_000, True)
    assert await books.account("cost_of_goods") > billed(LARGE)
    assert await books.balance(key) == (5 * USD - billed(SMALL) + 1_000, 0)
    await books.check()


async def test_of_a_revoked_key(books: Books) -> None:
    """Its money goes back to its balance, though nothing can be given there otherwise."""
    key = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", SMALL))
    await books.revoke(key)
    assert not (await _refund(books, "r1")).problem
    assert await books.balance(key) == (5 * USD, 0)
    await books.check()


async def test_beside_an_edges_word(books: Books) -> None:
    """A call that was refunded in part, and whose caller then turns out to have seen an error, is paid back once."""
    key = await books.key()
    hold = await books.hold("r1")
    await books.settle(event("r1", SMALL, outcome=Outcome.FAILED))
    await _refund(books, "r1", 500)
    for _ in range(2):
        assert await books.estimate(hold, SMALL, failed=True)
    assert await _bill(books, "r1") == (500, 500, True)
    assert await books.balance(key) == (5 * USD, 0)
    assert await _spent(books, key) == 0
    assert "refunded in full" in (await _refund(books, "r1")).problem
    await books.check()


async def test_a_refund_goes_back_to_what_paid(books: Books) -> None:
    """Deposits have their part back first, then promotional credit; what has expired since expires at once."""
    key = await books.key(nano=0)
    owed = billed(SMALL)
    await books.act("promotional", Post(1, f"key:{key}", owed // 2, expires_in_s=50))
    await books.act("deposit", Post(1, f"key:{key}", USD))
    await books.hold("r1")
    await books.settle(event("r1", SMALL))
    cash = owed - owed // 2
    await _refund(books, "r1", cash)
    assert await books.lots(key) == []
    await _refund(books, "r1", 1_000)
    assert await books.lots(key) == [1_000]
    books.clock.turn(60)
    await books.expire_lots()
    assert await books.lots(key) == []
    await _refund(books, "r1")
    assert (await books.balance(key))[0] == USD + owed // 2 - 1_000
    await books.expire_lots()
    assert await books.balance(key) == (USD, 0)
    await books.check()


async def test_a_refund_gives_room_back_in_the_calls_own_period(books: Books) -> None:
    """What a cap counted of the call, in the period of its hold, is less by the refund; a later period is not touched."""
    key = await books.key()
    cap = NewCap("cap_1", "day", USD, "UTC")
    assert not (await books.do(CapCreate(1, cap, key))).problem
    await books.hold("r1")
    await books.settle(event("r1", SMALL))
    books.clock.turn(86_400)
    await books.hold("r2")
    await books.settle(event("r2", SMALL))
    await _refund(books, "r1", 1_000)
    rows = await books.store.fetch("SELECT spent_nano FROM cap_periods ORDER BY start_ms")
    assert [row[0] for row in rows] == [billed(SMALL) - 1_000, billed(SMALL)]
    assert not (await books.do(CapCreate(1, NewCap("cap_2", "total", USD, "UTC"), key))).problem
    rows = await books.store.fetch("SELECT spent_nano FROM cap_periods WHERE cap_id = 'cap_2'")
    assert [row[0] for row in rows] == [2 * billed(SMALL) - 1_000], "one that is made later counts it so"
    await books.check()
