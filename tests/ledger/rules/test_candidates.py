"""Calls that several models may serve: one hold that covers the dearest, one bill by the one that served."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ledger.rules.authorise import UNSET_LIMIT_FLOOR, UNSET_LIMIT_PARTS, authorise
from ledger.store.base import Store
from ledger.verbs.surprises import surprises
from ledger.verbs.usage import receipt
from schemas.bus.usage import Known, Outcome, Try, UsageEvent
from schemas.catalogue.model import Model
from schemas.money.pricing import NO_USAGE, Price, PriceTier, TokenUsage, bound, charge
from schemas.verbs.calls import (
    Authorise,
    Estimate,
    Further,
    Granted,
    Hold,
    Reason,
    Reattempt,
    Refusal,
    Release,
)
from tests.ledger.harness import USD, Books, Clock, digest_of, lone_book

RATE = Decimal("0.6137")
USED = TokenUsage(input=83, cached=7, output=41)
PROMPT, LIMIT = 100, 100


def model(name: str, input_usd: str, output_usd: str, **fields: Any) -> Model:
    """A model with one price."""
    price = Price(id=name, tiers=(PriceTier(input=Decimal(input_usd), output=Decimal(output_usd)),))
    defaults = {
        "provider": "openai",
        "pool": "openai",
        "rate": RATE,
        "context": 100_000,
        "max_output": 50_000,
    }
    return Model(id=name, upstream=f"up-{name}", prices=(price,), **(defaults | fields))


CHEAP = model("cheap", "1.5", "6")
DEAR = model("dear", "7", "31.03", rate=Decimal("0.71"), max_output=80)
OTHER = model("other", "3", "9", provider="anthropic", pool="claude")
MODELS = {one.id: one for one in (CHEAP, DEAR, OTHER)}


def owed(name: str, usage: TokenUsage = USED) -> int:
    """What a call by one model costs its caller, computed the slow way."""
    return charge(usage, MODELS[name].prices[0], MODELS[name].rate)


def listed(name: str, usage: TokenUsage = USED) -> int:
    """The same at list price."""
    return charge(usage, MODELS[name].prices[0], Decimal(1))


def ask(request_id: str, *names: str, limit: int | None = LIMIT, key: str = "key") -> Authorise:
    """A request for a hold for several models."""
    return Authorise(
        v=1,
        request_id=request_id,
        digest=digest_of(key),
        model=names[0],
        prompt_max=PROMPT,
        choices=1,
        limit=limit,
        others=tuple(Further(name, PROMPT, limit) for name in names[1:]),
        asked=names,
    )


def report(request_id: str, name: str, attempt: int, place: int, *, fails: bool = False) -> UsageEvent:
    """What the worker of one candidate says; one that fails has used something of its upstream, and gives way."""
    one = MODELS[name]
    outcome, known = (Outcome.FAILED, Known.ESTIMATED) if fails else (Outcome.OK, Known.REPORTED)
    return UsageEvent(
        request_id=request_id,
        attempt=attempt,
        worker_id="w1",
        pool=one.pool,
        provider=one.provider,
        outcome=outcome,
        known=known,
        usage=NO_USAGE if fails else USED,
        tries=(Try("main", one.upstream, outcome, 500 if fails else 200, known, USED),),
        candidate=place,
        gives_way=fails,
    )


async def opened(store: Store, clock: Clock, nano: int = 5 * USD) -> Books:
    """Books that sell the three models, and a key."""
    books = await Books.open(store, clock, tuple(MODELS.values()))
    await books.key(nano=nano)
    return books


async def hold_of(books: Books, request_id: str, *names: str, limit: int | None = LIMIT) -> Hold:
    """A hold for several models."""
    reply = await books.do(ask(request_id, *names, limit=limit))
    assert isinstance(reply, Hold), reply
    return reply


async def goes_on(books: Books, hold: Hold, attempt: int, place: int) -> bool:
    """An edge asks for the attempt of the next candidate."""
    return bool((await books.do(Reattempt(1, hold.request_id, hold.token, attempt, NO_USAGE, place))).ok)


async def the_call(books: Books) -> dict[str, Any]:
    """The only call of the books."""
    (only,) = await books.usage()
    return only


async def test_the_hold_is_the_dearest_candidates_own(store: Store, clock: Clock) -> None:
    """Each candidate is pinned with its own price, rate, pool and limit; the amount is what the dearest alone would hold."""
    books = await opened(store, clock)
    alone = {name: (await hold_of(books, f"r-{name}", name)).amount_nano for name in MODELS}
    hold = await hold_of(books, "r1", "cheap", "dear", "other")
    assert hold.amount_nano == max(alone.values()) == alone["dear"]
    assert [
        (one.place, one.model, one.pool, one.provider, one.upstream, one.rate, one.limit)
        for one in hold.candidates
    ] == [
        (1, "cheap", "openai", "openai", "up-cheap", RATE, 100),
        (2, "dear", "openai", "openai", "up-dear", DEAR.rate, 80),
        (3, "other", "claude", "anthropic", "up-other", RATE, 100),
    ]
    assert [one.price for one in hold.candidates] == [one.prices[0] for one in MODELS.values()]
    again = await books.do(ask("r1", "cheap", "dear", "other"))
    assert again == hold
    await books.check()


async def test_each_candidate_is_held_for_its_own_tiers(store: Store, clock: Clock) -> None:
    """A tier that is asked for is in a candidate's part of the hold by that model's own table, and in its bill.

    What a candidate was served under is no surprise where its own part reckoned with it, whatever the others' did.
    """
    double = {"priority": (PriceTier(input=Decimal(14), output=Decimal("62.06")),)}
    tiered = structs.replace(DEAR, prices=(structs.replace(DEAR.prices[0], services=double),))
    books = await Books.open(store, clock, (CHEAP, tiered))
    await books.key(nano=5 * USD)
    further = Further("dear", 2 * PROMPT, LIMIT, ("priority",))
    hold = await books.do(structs.replace(ask("r1", "cheap"), others=(further,), uplifts=()))
    assert isinstance(hold, Hold)
    dear = bound(2 * PROMPT, tiered.prices[0], tiered.rate, ("priority",))
    assert hold.amount_nano == dear.hold_nano(80) > bound(PROMPT, CHEAP.prices[0], RATE).hold_nano(LIMIT)
    assert hold.candidates[1].list_nano == bound(
        2 * PROMPT, tiered.prices[0], Decimal(1), ("priority",)
    ).hold_nano(80)
    await books.settle(report("r1", "cheap", 1, 1, fails=True))
    assert await goes_on(books, hold, 2, 2)
    served = report("r1", "dear", 2, 2)
    tries = (structs.replace(served.tries[0], uplifts=("priority",)),)
    await books.settle(structs.replace(served, uplifts=("priority",), tries=tries))
    call = await the_call(books)
    assert call["billed_nano"] == charge(USED, tiered.prices[0], tiered.rate, ("priority",))
    assert not (await surprises(books.store)).rows
    await books.check()


async def test_a_tier_that_only_another_candidate_reckons_with_is_a_surprise(
    store: Store, clock: Clock
) -> None:
    """It is remembered of the candidate that served, by that one's price row."""
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    served = report("r1", "dear", 2, 2)
    tries = (structs.replace(served.tries[0], uplifts=("turbo",)),)
    assert await goes_on(books, hold, 2, 2)
    await books.settle(structs.replace(served, tries=tries))
    (row,) = (await surprises(books.store)).rows
    assert (row["pool"], row["upstream"], row["uplift"]) == ("openai", "up-dear", "turbo")
    await books.check()


async def test_an_estimate_is_at_the_tier_of_the_candidate_that_ran(store: Store, clock: Clock) -> None:
    """Without a report its own part of the hold says which table an estimate is by."""
    double = {"priority": (PriceTier(input=Decimal(14), output=Decimal("62.06")),)}
    tiered = structs.replace(DEAR, prices=(structs.replace(DEAR.prices[0], services=double),))
    books = await Books.open(store, clock, (CHEAP, tiered))
    await books.key(nano=5 * USD)
    further = Further("dear", PROMPT, LIMIT, ("priority",))
    hold = await books.do(structs.replace(ask("r1", "cheap"), others=(further,)))
    assert await goes_on(books, hold, 2, 2)
    await books.do(Estimate(1, "r1", hold.token, 2, USED, failed=False, candidate=2))
    call = await the_call(books)
    assert call["billed_nano"] == charge(USED, tiered.prices[0], tiered.rate, ("priority",))
    await books.check()


async def test_a_call_with_one_model_has_no_candidates(store: Store, clock: Clock) -> None:
    """Nothing more is stored for it: no row of a candidate, and what was asked is the model itself."""
    books = await opened(store, clock)
    hold = await books.hold("r1", model="cheap")
    assert hold.candidates == ()
    assert await store.fetch("SELECT * FROM candidates") == []
    rows = await store.fetch("SELECT asked, candidate FROM holds")
    assert [tuple(row) for row in rows] == [("", 0)]


async def test_what_a_key_may_not_use_is_skipped(store: Store, clock: Clock) -> None:
    """Candidates of other providers and unknown ones are left out; if none is left the first one's reason is told.

    With one left it is a call like any other.
    """
    books = await opened(store, clock)
    narrow = await books.key("narrow", providers=("anthropic",))
    reply = await books.do(ask("r1", "cheap", "gone", "other", key="narrow"))
    assert [(one.place, one.model) for one in reply.candidates] == [(0, "other")]
    assert (reply.pool, reply.upstream) == ("claude", "up-other")
    await books.settle(report("r1", "other", 1, 0))
    assert (await books.usage(narrow))[0]["model"] == "other"
    denied = await books.do(ask("r2", "dear", "gone", key="narrow"))
    assert denied == Refusal(Reason.PROVIDER_DENIED, model="dear", key_id=narrow)
    unknown = await books.do(ask("r3", "gone", "dear", key="narrow"))
    assert unknown == Refusal(Reason.UNKNOWN_MODEL, model="gone", key_id=narrow)
    await books.check()


async def test_a_balance_that_the_dearest_exceeds_is_refused(store: Store, clock: Clock) -> None:
    """Any candidate may come to serve, so what the dearest needs is required, and the refusal names it."""
    books = await opened(store, clock)
    needs = (await hold_of(books, "r1", "dear")).amount_nano
    await books.key("poor", nano=needs - 1)
    assert isinstance(await books.do(ask("r2", "cheap", key="poor")), Hold)
    await books.do(Release(1, "r2", ""))
    await books.key("poorer", nano=needs - 1)
    refused = await books.do(ask("r3", "cheap", "dear", key="poorer"))
    assert (refused.reason, refused.model, refused.required_nano) == (Reason.INSUFFICIENT, "dear", needs)


@pytest.mark.parametrize("event_first", [True, False], ids=["event first", "reattempt first"])
async def test_the_one_that_served_bills(store: Store, clock: Clock, event_first: bool) -> None:
    """The failed event of the first books its tries as our cost and leaves the hold open, whenever it comes.

    The second's price is what the caller pays, to the nano; replays change nothing.
    """
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "other")
    failed, served = report("r1", "cheap", 1, 1, fails=True), report("r1", "other", 2, 2)
    if event_first:
        await books.settle(failed)
        await books.settle(failed)
        assert (await books.audit())["open_holds"] == 1
        assert await goes_on(books, hold, 2, 2)
    else:
        assert await goes_on(books, hold, 2, 2)
        await books.settle(failed)
    assert await goes_on(books, hold, 2, 2)  # its answer was lost, and it asks again
    await books.settle(served)
    call = await the_call(books)
    assert (call["model"], call["pool"], call["provider"]) == ("other", "claude", "anthropic")
    assert (call["billed_nano"], call["attempts"], call["rate"]) == (owed("other"), 2, str(RATE))
    assert call["price"]["id"] == "other"
    assert await books.account("cost_of_goods") == listed("cheap") + listed("other")
    before = await books.state()
    await books.settle(served, failed, served)
    assert await books.state() == before
    assert (await books.check())["uncollected_nano"] == 0


async def test_the_receipt_says_asked_and_served(store: Store, clock: Clock) -> None:
    """`asked` is what the caller wrote, `model` and `upstream` what served, with the price and rate of that one."""
    books = await opened(store, clock)
    key_id = await books.key("second")
    hold = await books.do(ask("r1", "dear", "cheap", key="second"))
    await books.settle(report("r1", "dear", 1, 1, fails=True))
    await goes_on(books, hold, 2, 2)
    await books.settle(report("r1", "cheap", 2, 2))
    shown = await receipt(store, key_id, "r1")
    assert shown is not None
    assert (shown["asked"], shown["model"], shown["upstream"]) == (["dear", "cheap"], "cheap", "up-cheap")
    assert (shown["rate"], shown["price"]["id"], shown["billed_nano"]) == (str(RATE), "cheap", owed("cheap"))
    assert shown["held_nano"] == hold.amount_nano
    await books.hold("r2", "second", model="cheap")
    await books.settle(report("r2", "cheap", 1, 0))
    plain = await receipt(store, key_id, "r2")
    assert plain is not None
    assert plain["asked"] == ["cheap"]


async def test_all_candidates_fail(store: Store, clock: Clock) -> None:
    """The last one's failure ends the call: it bills nothing, and every try is our cost."""
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    await books.settle(report("r1", "cheap", 1, 1, fails=True))
    assert await goes_on(books, hold, 2, 2)
    last = report("r1", "dear", 2, 2, fails=True)
    await books.settle(
        UsageEvent(**{name: getattr(last, name) for name in last.__struct_fields__} | {"gives_way": False})
    )
    call = await the_call(books)
    assert (call["outcome"], call["billed_nano"], call["model"]) == ("failed", 0, "dear")
    assert await books.account("cost_of_goods") == listed("cheap") + listed("dear")
    assert (await books.check())["open_holds"] == 0


@pytest.mark.parametrize("late", [True, False], ids=["event after", "event before"])
@pytest.mark.parametrize("end", ["expired", "released", "failed", "charged"])
async def test_nobody_goes_on(store: Store, clock: Clock, end: str, late: bool) -> None:
    """Whatever ends a call between two candidates, and however the event comes, nothing is billed.

    What the first used is our cost once, and the event again changes nothing.
    """
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    failed = report("r1", "cheap", 1, 1, fails=True)
    if not late:
        await books.settle(failed)
    if end == "expired":
        clock.turn(31)
        assert await books.expire() == 1
    elif end == "released":
        assert await books.release(hold)
    else:
        await books.do(Estimate(1, "r1", hold.token, 1, USED, failed=end == "failed" or late, candidate=1))
    await books.settle(failed)
    await books.settle(failed)
    assert await books.account("cost_of_goods") == listed("cheap")
    assert await books.account("revenue") == 0
    clock.turn(31)
    await books.expire()
    proof = await books.check()
    assert (proof["open_holds"], proof["uncollected_nano"]) == (0, 0)


async def test_a_late_report_of_the_candidate_that_served(store: Store, clock: Clock) -> None:
    """A call that expired with its second candidate is billed by that one's price when the report comes."""
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    assert await goes_on(books, hold, 2, 2)
    clock.turn(31)
    assert await books.expire() == 1
    assert (await the_call(books))["model"] == "dear"
    await books.settle(report("r1", "dear", 2, 2))
    assert (await the_call(books))["billed_nano"] == owed("dear")
    await books.check()


async def test_books_that_forgot_the_reattempt(store: Store, clock: Clock) -> None:
    """Restored from before it, they take the candidate from the event, and bill by its price."""
    books = await opened(store, clock)
    await hold_of(books, "r1", "cheap", "dear")
    await books.settle(report("r1", "dear", 2, 2))
    call = await the_call(books)
    assert (call["model"], call["billed_nano"], call["price"]["id"]) == ("dear", owed("dear"), "dear")
    await books.check()


async def test_an_estimate_is_by_the_candidate_that_ran(store: Store, clock: Clock) -> None:
    """An edge whose worker died with the second candidate is billed by that one's price; a report corrects it."""
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    assert await goes_on(books, hold, 2, 2)
    half = TokenUsage(input=50, output=10)
    assert (await books.do(Estimate(1, "r1", hold.token, 2, half, failed=False, candidate=2))).ok
    assert (await the_call(books))["billed_nano"] == owed("dear", half)
    await books.settle(report("r1", "dear", 2, 2))
    assert (await the_call(books))["billed_nano"] == owed("dear")
    await books.check()


async def test_nonsense_names_no_candidate(store: Store, clock: Clock) -> None:
    """A place that the hold has not is refused in a reattempt; in an event the current candidate's price counts."""
    books = await opened(store, clock)
    hold = await hold_of(books, "r1", "cheap", "dear")
    assert not await goes_on(books, hold, 2, 3)
    await books.settle(report("r1", "cheap", 1, 9))
    assert (await the_call(books))["billed_nano"] == owed("cheap")
    single = await books.hold("r2", model="cheap")
    assert not await goes_on(books, single, 2, 1)
    await books.settle(report("r2", "cheap", 1, 1, fails=True))
    assert (await books.check())["open_holds"] == 0


async def test_the_audit_finds_a_bill_at_another_price(store: Store, clock: Clock) -> None:
    """A bill whose model is not the candidate that its hold has is a finding."""
    books = await opened(store, clock)
    await hold_of(books, "r1", "cheap", "dear")
    await books.settle(report("r1", "cheap", 1, 1))
    await books.check()
    for sql in ("UPDATE holds SET candidate = 2", "DELETE FROM candidates"):
        async with store.write() as tx:
            await tx.execute(sql)
        found = (await books.audit())["findings"]
        assert [(one["invariant"], one["request_id"]) for one in found] == [("I5", "r1")], found


prices = st.decimals(min_value=0, max_value=100, places=4)


@given(
    data=st.data(),
    priced=st.lists(st.tuples(prices, prices, st.integers(1, 200_000)), min_size=2, max_size=8),
    balance=st.integers(0, 20 * USD),
    limit=st.none() | st.integers(1, 300_000),
)
def test_no_candidates_charge_exceeds_the_hold(
    data: Any, priced: Any, balance: int, limit: int | None
) -> None:
    """Whichever candidate serves, with any usage within what it was granted, its charge is within the one hold.

    No candidate is granted more than the caller set or the model has, nor an unset one more than its part of the money.
    """
    models = tuple(
        model(f"m{number}", str(one[0]), str(one[1]), max_output=one[2], context=400_000)
        for number, one in enumerate(priced)
    )
    book = lone_book(models, balance)
    reply = authorise(book, ask("r1", *(one.id for one in models), limit=limit), "d")
    if isinstance(reply, Refusal):
        assert book.accounts["key:k"].held_nano == 0
        return
    assert 0 <= reply.amount_nano == book.accounts["key:k"].held_nano <= balance
    for one, granted in zip(models, reply.candidates, strict=True):
        _check_granted(data, one, granted, amount=reply.amount_nano, balance=balance, limit=limit)


def _check_granted(
    data: Any, one: Model, granted: Granted, *, amount: int, balance: int, limit: int | None
) -> None:
    assert granted.model == one.id
    assert granted.limit <= min(one.max_output, limit or one.max_output)
    if limit is not None:
        assert granted.limit == min(limit, one.max_output)
    output = data.draw(st.integers(0, granted.limit))
    prompt = data.draw(st.integers(0, PROMPT))
    most = TokenUsage(input=PROMPT, output=granted.limit)
    used = TokenUsage(input=prompt, output=output)
    for usage in (most, used):
        assert charge(usage, one.prices[0], one.rate) <= amount
        assert charge(usage, one.prices[0], Decimal(1)) <= granted.list_nano
    if limit is None and granted.limited and granted.limit > UNSET_LIMIT_FLOOR:
        assert charge(most, one.prices[0], one.rate) <= balance // UNSET_LIMIT_PARTS + 1
