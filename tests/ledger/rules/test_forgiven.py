"""Calls whose callers saw an error after their workers had billed them: the bill is taken back, once and for ever."""

import pytest

from schemas.bus.usage import Outcome
from schemas.money.pricing import TokenUsage
from tests.ledger.harness import USD, Books, event, listed

SMALL = TokenUsage(input=80, cached=10, output=40, reasoning=7)
LARGE = TokenUsage(input=90, output=95)
HUGE = TokenUsage(input=100, output=5_000)
LIE = pytest.mark.uncollected("the upstream reports fifty times what it was granted")


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.FAILED])
@pytest.mark.parametrize("report", [SMALL, pytest.param(HUGE, marks=LIE)])
async def test_a_bill_whose_caller_saw_an_error_is_taken_back(
    books: Books, report: TokenUsage, outcome: Outcome
) -> None:
    """An answer, or what came of one that broke, can be lost after its bill: the caller pays nothing, our cost stays."""
    key_id = await books.key()
    hold = await books.hold("r1")
    await books.settle(event("r1", report, outcome=outcome))
    assert not await books.reattempt(hold, 2)
    for _ in range(2):  # the first answer may have been lost
        assert await books.estimate(hold, SMALL, failed=True)
        assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == listed(report)
    assert await books.account("uncollected") == 0
    (row,) = await books.usage()
    assert (row["outcome"], row["billed_nano"], row["list_nano"], row["completion_tokens"]) == (
        "failed",
        0,
        0,
        0,
    )
    before = await books.state()
    await books.settle(event("r1", report, outcome=outcome))
    assert await books.state() == before
    await books.check()


async def test_an_estimate_that_was_wrong_is_taken_back(books: Books) -> None:
    """Estimated or expired first, then known to have failed: nothing is held, nothing billed, whatever is reported."""
    key_id = await books.key()
    estimated = await books.hold("r1")
    assert await books.estimate(estimated, SMALL)
    assert await books.estimate(estimated, SMALL, failed=True)
    assert await books.balance(key_id) == (5 * USD, 0)
    expired = await books.hold("r2")
    books.clock.turn(60)
    assert await books.expire() == 1
    assert await books.estimate(expired, SMALL, failed=True)
    await books.settle(event("r1", LARGE), event("r2", LARGE))
    assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == 2 * listed(LARGE)
    assert {row["outcome"] for row in await books.usage()} == {"failed"}
    await books.check()


async def test_only_the_attempt_that_billed_is_taken_back(books: Books) -> None:
    """Word of a replaced attempt's failure changes no later attempt's bill."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.reattempt(hold, 2)
    await books.settle(event("r1", SMALL, attempt=2))
    before = await books.balance(key_id)
    assert not await books.estimate(hold, SMALL, attempt=1, failed=True)
    assert await books.balance(key_id) == before
    await books.check()
