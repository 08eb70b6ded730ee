"""Events that were put aside: a person sees them, applies one again, or takes it away; each once, and in the log."""

import pytest

from ledger.verbs.acts import log_page
from ledger.verbs.parked import parked
from schemas.money.pricing import TokenUsage
from schemas.verbs.acts import LogQuery
from schemas.verbs.parked import ParkedQuery, ParkedRef
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=80, output=40)


async def test_applied_again(books: Books) -> None:
    """One whose call has a hold is billed as it reports, once, and is parked no more."""
    key = await books.key()
    await books.hold("r1")
    await books.committer.park(event("r1", SMALL), "a fault of ours")
    (row,) = (await parked(books.store, ParkedQuery())).rows
    assert (row["request_id"], row["why"], row["tokens"]["output"]) == ("r1", "a fault of ours", 40)
    again = [await books.act("parked_bill", ParkedRef(1, "r1", 1), key="k") for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].rows[0]["effect"] == "billed"
    assert await books.balance(key) == (5 * USD - billed(SMALL), 0)
    assert "no parked event" in (await books.act("parked_bill", ParkedRef(1, "r1", 1))).problem
    (entry,) = (await log_page(books.store, LogQuery(action="parked_bill"))).rows
    assert entry["before"]["parked_events/r1:1"]["reason"] == "a fault of ours"
    assert (await books.check())["parked"] == 0


async def test_what_nobody_can_be_billed_for(books: Books) -> None:
    """One without a hold, beyond belief or unreadable is not billed, says why, and can be dismissed."""
    await books.key()
    await books.settle(event("lost", SMALL), event("mad", TokenUsage(output=-1)))
    async with books.store.write() as tx:
        await tx.execute(
            "INSERT INTO parked_events (request_id, attempt, reason, payload, created_ms) VALUES ($1, $2, $3, $4, $5)",
            "stream:7",
            0,
            "it cannot be read",
            b"\xc1\x00",
            1,
        )
    assert "tokn debit KEY USD" in (await books.act("parked_bill", ParkedRef(1, "lost", 1))).problem
    for request_id, attempt, words in (
        ("lost", 1, "no hold in the books"),
        ("mad", 1, "out of range"),
        ("stream:7", 0, "cannot be read"),
    ):
        (row,) = (await parked(books.store, ParkedQuery(request_id=request_id))).rows
        assert (row["raw"] is not None) == (request_id == "stream:7")
        assert words in (await books.act("parked_bill", ParkedRef(1, request_id, attempt))).problem
        done = await books.act("parked_dismiss", ParkedRef(1, request_id, attempt, "seen"))
        assert done.rows[0]["effect"] == "dismissed"
    assert (await books.check())["parked"] == 0


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_none_of_it_unless_it_is_there(books: Books) -> None:
    """An event that is not parked can be neither billed nor dismissed, and nothing is logged."""
    await books.key()
    for name in ("parked_bill", "parked_dismiss"):
        assert "no parked event" in (await books.act(name, ParkedRef(1, "r1", 1), key="k")).problem
    assert len((await log_page(books.store, LogQuery())).rows) == 1
