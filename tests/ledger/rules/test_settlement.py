"""Settlement: who pays what for each way a call can end, once and for ever."""

from typing import Any

import pytest
from msgspec import structs

from ledger.store.postgres import _WRITER_SETTINGS, PostgresTransaction
from schemas.bus.usage import Known, Outcome, Try
from schemas.money.amounts import NANO_MAX
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.calls import Reason, Refusal
from schemas.verbs.keys import Credit, KeyCreate
from tests.ledger.harness import MODEL, USD, Books, Clock, billed, digest_of, event, listed

SMALL = TokenUsage(input=80, cached=10, output=40, reasoning=7)
LARGE = TokenUsage(input=90, output=95)
HUGE = TokenUsage(input=100, output=5_000)
LIE = pytest.mark.uncollected("the upstream reports fifty times what it was granted")


async def test_a_bill_is_exact(books: Books) -> None:
    """The caller pays the rate, the upstream account list price, and the hold is gone."""
    key_id = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", SMALL))
    assert await books.balance(key_id) == (5 * USD - billed(SMALL), 0)
    assert await books.account("upstream:openai:main") == 1000 * USD - listed(SMALL)
    assert await books.account("revenue") == billed(SMALL)
    assert await books.account("cost_of_goods") == listed(SMALL)
    (row,) = await books.usage(key_id)
    assert row["prompt_tokens"] == 90
    assert row["cached_tokens"] == 10
    assert row["completion_tokens"] == 47
    assert row["reasoning_tokens"] == 7
    assert (row["list_nano"], row["billed_nano"]) == (listed(SMALL), billed(SMALL))
    assert (row["outcome"], row["known"]) == ("ok", "reported")
    proof = await books.check()
    assert (proof["open_holds"], proof["calls"]) == (0, 1)


async def test_again_changes_nothing(books: Books) -> None:
    """The same event again, in the same message, another message or another order, changes nothing."""
    await books.key()
    await books.hold("r1")
    await books.hold("r2")
    await books.settle(event("r1", SMALL), event("r1", SMALL), event("r2", LARGE), event("r1", SMALL))
    before = await books.state()
    await books.settle(event("r2", LARGE), event("r1", SMALL))
    await books.settle(event("r1", LARGE))
    assert await books.state() == before
    await books.check()


async def test_failed_calls_bill_nothing(books: Books) -> None:
    """A call that the caller saw fail bills nothing; what its tries used is our cost."""
    key_id = await books.key()
    await books.hold("r1")
    tries = (
        Try(
            account="main",
            upstream=MODEL,
            outcome=Outcome.FAILED,
            status=500,
            known=Known.ESTIMATED,
            usage=SMALL,
        ),
        Try(
            account="spare",
            upstream=MODEL,
            outcome=Outcome.FAILED,
            status=500,
            known=Known.REPORTED,
            usage=NO_USAGE,
        ),
    )
    await books.settle(event("r1", NO_USAGE, outcome=Outcome.FAILED, tries=tries))
    assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == listed(SMALL)
    assert [row["outcome"] for row in await books.usage()] == ["failed"]
    await books.check()


async def test_each_try_costs_its_own(books: Books) -> None:
    """Each try is taken off its own account, at list price of the upstream model it called."""
    await books.key()
    await books.hold("r1")
    tries = (
        Try(
            account="main",
            upstream=MODEL,
            outcome=Outcome.FAILED,
            status=200,
            known=Known.ESTIMATED,
            usage=TokenUsage(input=80, output=1),
        ),
        Try(
            account="spare",
            upstream="gpt-4o-mini",
            outcome=Outcome.OK,
            status=200,
            known=Known.REPORTED,
            usage=SMALL,
        ),
    )
    await books.settle(event("r1", SMALL, tries=tries))
    first = listed(TokenUsage(input=80, output=1))
    assert await books.account("upstream:openai:main") == 1000 * USD - first
    assert await books.account("upstream:openai:spare") == -listed(SMALL, "gpt-4o-mini")
    await books.check()


@LIE
async def test_a_charge_never_exceeds_its_hold(books: Books) -> None:
    """What a report says beyond the hold is uncollected, and visible."""
    key_id = await books.key()
    hold = await books.hold("r1")
    await books.settle(event("r1", HUGE))
    assert await books.balance(key_id) == (5 * USD - hold.amount_nano, 0)
    rest = billed(HUGE) - hold.amount_nano
    assert await books.account("uncollected") == -rest
    assert (await books.usage())[0]["uncollected_nano"] == rest
    proof = await books.check()
    assert proof["uncollected_nano"] == rest


async def test_a_released_hold_is_our_cost(books: Books) -> None:
    """An event for a released hold costs us, not the caller, once."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.release(hold)
    assert await books.release(hold)  # its answer was lost
    await books.settle(event("r1", SMALL))
    await books.settle(event("r1", SMALL))
    assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == listed(SMALL)
    assert await books.usage() == []
    await books.check()


async def test_only_the_current_attempt_bills(books: Books) -> None:
    """A replaced attempt is our cost: estimated at first, corrected by its own event."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.reattempt(hold, 2, replaced=TokenUsage(input=20, output=1))
    assert await books.reattempt(hold, 2, replaced=TokenUsage(input=20, output=1))
    assert await books.account("unallocated") == -listed(TokenUsage(input=20, output=1))
    await books.settle(event("r1", SMALL, attempt=1))
    assert await books.account("unallocated") == 0
    assert await books.balance(key_id) == (5 * USD, hold.amount_nano)
    await books.settle(event("r1", LARGE, attempt=2))
    await books.settle(event("r1", SMALL, attempt=1))
    assert await books.balance(key_id) == (5 * USD - billed(LARGE), 0)
    assert await books.account("cost_of_goods") == listed(SMALL) + listed(LARGE)
    assert len(await books.usage()) == 1
    await books.check()


async def test_reattempt_is_refused_once_settled(books: Books) -> None:
    """After the bill there is no other attempt; a wrong token gets nothing either."""
    await books.key()
    hold = await books.hold("r1")
    await books.settle(event("r1", SMALL))
    assert not await books.reattempt(hold, 2)
    assert not await books.release(hold)
    assert not await books.estimate(hold, SMALL)
    other = await books.hold("r2")
    wrong = structs.replace(other, token="wrong")
    assert not await books.release(wrong)
    assert not await books.reattempt(wrong, 2)


async def test_an_attempt_after_a_bounce_bills(books: Books) -> None:
    """Offers after a bounce are not announced: a later attempt's event bills all the same."""
    key_id = await books.key()
    await books.hold("r1")
    await books.settle(event("r1", SMALL, attempt=3))
    await books.settle(event("r1", LARGE, attempt=4))
    assert await books.balance(key_id) == (5 * USD - billed(SMALL), 0)
    assert await books.account("cost_of_goods") == listed(SMALL) + listed(LARGE)
    await books.check()


@pytest.mark.parametrize("report", [SMALL, LARGE, pytest.param(HUGE, marks=LIE)])
async def test_a_report_corrects_an_estimate(books: Books, report: TokenUsage) -> None:
    """The rest of the hold stays for the report, which changes the bill and its line; a second changes nothing."""
    key_id = await books.key(nano=760_000)
    hold = await books.hold("r1")
    guess = TokenUsage(input=80, output=60)
    assert await books.estimate(hold, guess)
    assert await books.estimate(hold, guess)  # its answer was lost
    assert await books.balance(key_id) == (760_000 - billed(guess), hold.amount_nano - billed(guess))
    assert (await books.usage())[0]["known"] == "estimated"
    await books.check()
    await books.settle(event("r1", report))
    paid = min(billed(report), hold.amount_nano)
    assert await books.balance(key_id) == (760_000 - paid, 0)
    (row,) = await books.usage()
    assert (row["known"], row["billed_nano"], row["completion_tokens"]) == (
        "reported",
        paid,
        report.completion,
    )
    assert await books.account("unallocated") == 0
    assert await books.account("cost_of_goods") == listed(report)
    before = await books.state()
    await books.settle(event("r1", guess))
    assert await books.state() == before
    await books.check()


@pytest.mark.uncollected("the report comes when the rest of the hold is another call's")
async def test_the_rest_of_an_estimate_is_freed_in_time(books: Books) -> None:
    """After its grace the rest is free; a late report takes at most what is available."""
    key_id = await books.key(nano=760_000)
    hold = await books.hold("r1")
    await books.estimate(hold, SMALL)
    books.clock.turn(29)
    assert await books.expire() == 0
    books.clock.turn(2)
    assert await books.expire() == 1
    left = 760_000 - billed(SMALL)
    assert await books.balance(key_id) == (left, 0)
    assert (await books.usage())[0]["outcome"] == "ok"
    other = await books.hold("r2", prompt=0, limit=(left - 1000) // 6000)
    await books.settle(event("r1", LARGE))
    posted, held = await books.balance(key_id)
    assert (posted, held) == (other.amount_nano, other.amount_nano)
    assert await books.account("uncollected") == -(billed(LARGE) - billed(SMALL) - (left - posted))
    await books.check()


async def test_a_failed_call_stays_free_whatever_is_reported(books: Books) -> None:
    """The caller saw an error: the estimate is our cost, and so is the report that comes later."""
    key_id = await books.key()
    hold = await books.hold("r1")
    assert await books.estimate(hold, SMALL, failed=True)
    assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == listed(SMALL)
    await books.settle(event("r1", LARGE))
    assert await books.balance(key_id) == (5 * USD, 0)
    assert await books.account("cost_of_goods") == listed(LARGE)
    assert [row["outcome"] for row in await books.usage()] == ["failed"]
    await books.check()


async def test_an_expired_hold_bills_nothing_until_its_event(books: Books) -> None:
    """Expired is a line of its own; the event that comes after all bills what is available."""
    key_id = await books.key()
    await books.hold("r1")
    books.clock.turn(31)
    assert await books.expire() == 1
    assert await books.balance(key_id) == (5 * USD, 0)
    assert [(row["outcome"], row["billed_nano"]) for row in await books.usage()] == [("expired", 0)]
    proof = await books.check()
    assert (proof["expired"], proof["open_holds"]) == (1, 0)
    await books.settle(event("r1", SMALL, attempt=2))
    await books.settle(event("r1", SMALL, attempt=2))
    assert await books.balance(key_id) == (5 * USD - billed(SMALL), 0)
    (row,) = await books.usage()
    assert (row["outcome"], row["known"]) == ("ok", "reported")
    await books.check()


@pytest.mark.uncollected("the event comes when the hold has expired and its money is another call's")
async def test_an_expired_hold_without_money_left(books: Books) -> None:
    """What an expired call's caller no longer has is uncollected, and the balance stays at zero."""
    key_id = await books.key(nano=800_000)
    await books.hold("r1")
    books.clock.turn(31)
    await books.expire()
    await books.hold("r2", prompt=0, limit=133)  # 798,000 of the 800,000
    await books.settle(event("r1", SMALL))
    assert await books.balance(key_id) == (798_000, 798_000)
    assert await books.account("uncollected") == -(billed(SMALL) - 2_000)
    await books.check()


async def test_renewed_leases_last(books: Books) -> None:
    """A hold expires 30 s after its last renewal, not before; only open ones are renewed."""
    await books.key()
    await books.hold("r1")
    await books.hold("r2")
    for _ in range(6):
        books.clock.turn(10)
        await books.committer.renew({"r1", "unknown"})
        await books.expire()
    assert [row["request_id"] for row in await books.usage()] == ["r2"]
    await books.committer.renew({"r2"})
    books.clock.turn(31)
    assert await books.expire() == 1
    await books.check()


async def test_an_event_without_a_hold_is_parked(books: Books) -> None:
    """Nobody can be billed for it: it is put aside for a person, and its tries are our cost, once."""
    await books.settle(event("r1", SMALL))
    await books.settle(event("r1", SMALL))
    proof = await books.check()
    assert (proof["parked"], proof["calls"]) == (1, 0)
    assert await books.account("cost_of_goods") == listed(SMALL)
    key_id = await books.key()
    assert await books.authorise("r1") == Refusal(Reason.ENDED, key_id=key_id)  # its id is taken for good
    await books.settle(event("r1", LARGE, attempt=2))
    assert await books.account("cost_of_goods") == listed(SMALL) + listed(LARGE)
    await books.check()


@pytest.mark.parametrize(
    "mad",
    [
        event("r1", TokenUsage(input=-1)),
        event("r1", TokenUsage(output=2**60)),
        event("r1", SMALL, attempt=0),
        event("r1", SMALL, outcome=Outcome.EXPIRED, tries=()),
        event("r1", SMALL, attempt=2**40),
        event("bad id.\x00", SMALL),
        event(
            "r1",
            SMALL,
            tries=(
                Try(
                    account="main",
                    upstream=MODEL,
                    outcome=Outcome.OK,
                    status=200,
                    known=Known.REPORTED,
                    usage=TokenUsage(input=-5),
                ),
            ),
        ),
        event(
            "r1",
            SMALL,
            tries=(
                Try(
                    account="main",
                    upstream=MODEL,
                    outcome=Outcome.OK,
                    status=200,
                    known=Known.REPORTED,
                    usage=SMALL,
                ),
            )
            * 1_001,
        ),
        event(
            "r1",
            SMALL,
            tries=(
                Try(
                    account="main",
                    upstream=MODEL,
                    outcome=Outcome.OK,
                    status=200,
                    known=Known.REPORTED,
                    usage=TokenUsage(output=2 * 10**8),
                ),
            )
            * 6,
        ),
    ],
)
async def test_a_mad_event_is_parked(books: Books, mad: object) -> None:
    """An event that cannot be true moves nothing, and does not hold up its neighbours."""
    key_id = await books.key()
    await books.hold("r1")
    await books.hold("r2")
    await books.settle(mad, event("r2", SMALL))
    await books.settle(mad)
    posted, _ = await books.balance(key_id)
    assert posted == 5 * USD - billed(SMALL)
    proof = await books.check()
    assert (proof["parked"], proof["open_holds"]) == (1, 1)


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize("after", range(1, 5))
async def test_two_ledgers_make_keys_of_one_profile(
    source: Any, clock: Clock, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that another ledger makes between any two reads of this one's: both keys are made, on one account."""
    # The first one's transaction lasts as long as all of the second's, which is how busy the machine is.
    monkeypatch.setitem(_WRITER_SETTINGS, "idle_in_transaction_session_timeout", "60s")
    books = await Books.open(await source.open(), clock)
    other = await Books.open(await source.again(), clock)
    real = PostgresTransaction.fetch
    reads = 0

    async def fetch(tx: PostgresTransaction, sql: str, *parameters: Any) -> Any:
        nonlocal reads
        rows = await real(tx, sql, *parameters)
        reads += 1
        if reads == after:
            await other.key("other", USD, profile="shared", playground=True)
        return rows

    monkeypatch.setattr(PostgresTransaction, "fetch", fetch)
    await books.key("mine", USD, profile="shared", playground=True)
    assert await books.account("playground:shared") == 2 * USD
    await books.check()
    await books.close()
    await other.close()


async def test_credit_and_keys_happen_once(books: Books) -> None:
    """The same credit or the same key again changes nothing; a request id is never used for another amount."""
    key_id = await books.key(nano=USD)
    assert await books.key(nano=USD) == key_id
    assert (await books.credit("c1", 2 * USD, key_id=key_id)).rows[0]["posted_nano"] == 3 * USD
    assert (await books.credit("c1", 2 * USD, key_id=key_id)).rows[0]["posted_nano"] == 3 * USD
    assert (await books.credit("c1", 3 * USD, key_id=key_id)).problem
    assert (await books.credit("c2", 0, key_id=key_id)).problem
    assert (await books.credit("c2", USD)).problem
    assert (await books.credit("c2", USD, key_id="key_0")).missing
    assert (await books.credit("c2", USD, profile="nobody")).missing
    assert await books.balance(key_id) == (3 * USD, 0)
    await books.check()


async def test_deposits_fit_their_columns(books: Books) -> None:
    """No number of large deposits, in one commit or in many, takes a sum beyond 64 bits: those too many are refused."""
    most = NANO_MAX // 4
    key_id = await books.key(nano=most)
    batch = await books.commit(
        [
            Credit(1, "c1", most - 1, key_id),
            Credit(1, "c2", 3, key_id),
            KeyCreate(
                v=1,
                digest=digest_of("rich"),
                name="",
                profile="",
                posted_nano=most,
                providers=None,
                playground=False,
            ),
            KeyCreate(
                v=1,
                digest=digest_of("poor"),
                name="",
                profile="",
                posted_nano=0,
                providers=None,
                playground=False,
            ),
        ]
    )
    assert ["4 billion USD" in reply.problem for reply in batch] == [False, True, True, False]
    assert "4 billion USD" in (await books.credit("c3", most, key_id=key_id)).problem
    assert not (await books.credit("c1", most - 1, key_id=key_id)).problem
    assert await books.balance(key_id) == (2 * most - 1, 0)
    assert await books.account("deposits") == 1 - 2 * most
    await books.check()


async def test_all_token_classes(books: Books) -> None:
    """Every class is priced by itself, at the tier that the whole prompt reaches."""
    model = "gemini-1.5-pro-latest"
    await books.key(nano=1000 * USD)
    low = TokenUsage(input=100_000, cached=20_000, cache_write=3, cache_write_long=4, input_audio=5, output=9)
    high = TokenUsage(input=100_000, cached=28_001, output=9, reasoning=11, output_audio=13)
    for request_id, usage in (("r1", low), ("r2", high)):
        await books.hold(request_id, model=model, prompt=200_000, limit=1000)
        await books.settle(event(request_id, usage))
    bills = {row["request_id"]: row["billed_nano"] for row in await books.usage()}
    assert bills == {"r1": billed(low, model), "r2": billed(high, model)}
    await books.check()
