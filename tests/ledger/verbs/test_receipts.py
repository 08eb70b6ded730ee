"""Receipts: all about one ended call of one's own, as reported, as estimated, and after a correction."""

from decimal import Decimal
from typing import Any

from ledger.verbs import usage as calls
from schemas.bus.usage import Known, Outcome, Try
from schemas.money.pricing import TokenUsage
from tests.ledger.harness import MODEL, Books, billed, event, listed, price_of

EVERY_CLASS = TokenUsage(input=70, cached=20, cache_write=6, output=40, reasoning=9)
SMALL = TokenUsage(input=50, output=12)
FIELDS = {  # what docs/contract.md asks of a usage line, and what a receipt adds
    *("id", "request_id", "key_id", "model", "upstream", "provider", "pool", "outcome", "known"),
    *(
        "prompt_tokens",
        "cached_tokens",
        "cache_write_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "tokens",
    ),
    *("list_nano", "billed_nano", "uncollected_nano", "list_usd", "cost_usd", "rate", "held_nano"),
    *(
        "price_ref",
        "price",
        "uplifts",
        "attempts",
        "tries",
        "queued_ms",
        "first_byte_ms",
        "duration_ms",
        "created",
    ),
}


async def receipt(books: Books, key_id: str, request_id: str) -> dict[str, Any]:
    """A receipt that is there."""
    found = await calls.receipt(books.store, key_id, request_id)
    assert found is not None
    return found


async def test_a_receipt_says_everything(books: Books) -> None:
    """Tokens by class, list price, rate, billed amount, price row, how it is known, attempts, tries and times."""
    key_id = await books.key()
    hold = await books.hold("r1")
    tries = (
        Try(
            account="main",
            upstream=MODEL,
            outcome=Outcome.FAILED,
            status=429,
            known=Known.REPORTED,
            usage=TokenUsage(),
        ),
        Try(
            account="spare",
            upstream=MODEL,
            outcome=Outcome.OK,
            status=200,
            known=Known.REPORTED,
            usage=EVERY_CLASS,
        ),
    )
    await books.settle(event("r1", EVERY_CLASS, tries=tries))
    paid = await receipt(books, key_id, "r1")
    assert paid.keys() >= FIELDS
    assert (paid["outcome"], paid["known"], paid["attempts"]) == ("ok", "reported", 1)
    assert {name: count for name, count in paid["tokens"].items() if count} == {
        "input": 70,
        "cached": 20,
        "cache_write": 6,
        "output": 40,
        "reasoning": 9,
    }
    assert (paid["prompt_tokens"], paid["completion_tokens"]) == (96, 49)
    assert (paid["list_nano"], paid["billed_nano"]) == (listed(EVERY_CLASS), billed(EVERY_CLASS))
    assert Decimal(paid["list_usd"]) * 10**9 == listed(EVERY_CLASS)
    assert Decimal(paid["cost_usd"]) * 10**9 == billed(EVERY_CLASS)
    assert (paid["rate"], paid["held_nano"]) == ("0.60", hold.amount_nano)
    assert paid["price"]["id"] == price_of().id
    assert paid["price_ref"].startswith(f"{price_of().id}@")
    assert [(one["status"], one["outcome"]) for one in paid["tries"]] == [(429, "failed"), (200, "ok")]
    assert paid["duration_ms"] == 1200


async def test_a_line_of_usage_says_the_same(books: Books) -> None:
    """`tokn usage` has all that a receipt has of money, price, tokens, attempts and times; after a price change too."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.reattempt(hold, 2, SMALL)
    await books.settle(event("r1", EVERY_CLASS, attempt=2, uplifts=("priority",)))
    await books.hold("r2")
    books.clock.turn(31)
    assert await books.expire() == 1
    lines = {line["request_id"]: line for line in await books.usage(key_id)}
    assert lines.keys() == {"r1", "r2"}
    for name, line in lines.items():
        paid = await receipt(books, key_id, name)
        assert line.items() <= paid.items()
        assert paid.keys() - line.keys() == {
            *("id", "asked", "upstream", "list_usd", "cost_usd", "held_nano", "tries"),
        }
    assert (lines["r1"]["attempts"], lines["r1"]["uplifts"]) == (2, ["priority"])
    assert lines["r2"]["price"]["id"] == price_of().id


async def test_a_receipt_names_no_account_of_ours(books: Books) -> None:
    """Which upstream account served, and what it cost us, is not a caller's business."""
    key_id = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", SMALL, account="spare"))
    paid = await receipt(books, key_id, "r1")
    assert "spare" not in str(paid)
    assert not {"cost_nano", "account", "token"} & paid.keys()


async def test_receipts_are_the_keys_own(books: Books) -> None:
    """Another key's call, a call that never was, and one that has not ended have no receipt."""
    key_id = await books.key("mine")
    other = await books.key("other")
    await books.hold("r1", "mine")
    assert await calls.receipt(books.store, key_id, "r1") is None
    await books.settle(event("r1", SMALL))
    assert await calls.receipt(books.store, key_id, "r1") is not None
    for key in (other, "", "nobody"):
        assert await calls.receipt(books.store, key, "r1") is None
    assert await calls.receipt(books.store, key_id, "r2") is None


async def test_an_event_without_a_hold_has_no_receipt(books: Books) -> None:
    """A row that belongs to no key is not shown to a caller whose key is unknown either."""
    await books.key()
    await books.settle(event("stray", SMALL))
    assert await calls.receipt(books.store, "", "stray") is None


async def test_an_estimate_and_its_correction(books: Books) -> None:
    """An estimated call says so; the report that comes later changes its figures, its one line and its receipt."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.estimate(hold, SMALL)
    first = await receipt(books, key_id, "r1")
    assert (first["known"], first["billed_nano"]) == ("estimated", billed(SMALL))
    await books.settle(event("r1", EVERY_CLASS))
    second = await receipt(books, key_id, "r1")
    assert (second["known"], second["billed_nano"]) == ("reported", billed(EVERY_CLASS))
    assert second["tokens"]["reasoning"] == 9
    (line,) = await books.usage(key_id)
    assert (line["known"], line["billed_nano"]) == ("reported", billed(EVERY_CLASS))
    await books.check()


async def test_attempts_and_expiry(books: Books) -> None:
    """A receipt counts attempts; a call that nobody ended says expired, and costs nothing."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.reattempt(hold, 2, SMALL)
    await books.settle(event("r1", SMALL, attempt=2))
    assert (await receipt(books, key_id, "r1"))["attempts"] == 2
    await books.hold("r2")
    books.clock.turn(31)
    assert await books.expire() == 1
    gone = await receipt(books, key_id, "r2")
    assert (gone["outcome"], gone["billed_nano"]) == ("expired", 0)
    assert len(await books.usage(key_id)) == 2
    await books.check()
