"""Unset limits: each call is granted its part of what is available, so that a small balance serves many at once."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.authorise import UNSET_LIMIT_FLOOR, UNSET_LIMIT_PARTS, authorise
from ledger.store.base import Store
from schemas.catalogue.model import Model
from schemas.money.pricing import Bound, Price, PriceTier, TokenUsage, bound
from schemas.verbs.calls import UNSET_LIMIT_MIN, Authorise, AuthoriseReply, Hold, Reason, Refusal
from tests.ledger.harness import USD, Books, Clock, event, lone_book

CALLS = 10
PROMPT = 500


def model(input_usd: Decimal, output_usd: Decimal, max_output: int) -> Model:
    """A model with one price."""
    price = Price(id="dear", tiers=(PriceTier(input=input_usd, output=output_usd),))
    return Model(
        id="dear",
        pool="openai",
        provider="openai",
        upstream="dear",
        context=400_000,
        max_output=max_output,
        prices=(price,),
    )


DEAR = model(Decimal(10), Decimal(50), 128_000)


async def dear_books(store: Store, clock: Clock) -> Books:
    """Books that sell the dear model, and a fresh key."""
    books = await Books.open(store, clock, (DEAR,))
    await books.key(nano=5 * USD)
    return books


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "one by one"])
async def test_ten_at_once_on_five_dollars(store: Store, clock: Clock, together: bool) -> None:
    """Ten calls of a dear model without a limit all get a hold on 5 USD, none below the floor, and all can be billed whole."""
    books = await dear_books(store, clock)
    requests = [
        books.request(f"r{number}", model="dear", prompt=PROMPT, limit=None) for number in range(CALLS)
    ]
    if together:
        replies = await books.commit(requests)
    else:
        replies = [await books.do(request) for request in requests]
    assert all(isinstance(reply, Hold) for reply in replies), replies
    limits = [reply.limit for reply in replies]
    assert limits == sorted(limits, reverse=True)
    assert min(limits) >= UNSET_LIMIT_FLOOR
    assert all(reply.limited for reply in replies)
    assert sum(reply.amount_nano for reply in replies) <= 5 * USD
    await books.settle(
        *(event(reply.request_id, TokenUsage(input=PROMPT, output=reply.limit)) for reply in replies)
    )
    assert (await books.check())["uncollected_nano"] == 0


async def test_a_lone_call_has_a_useful_limit(store: Store, clock: Clock) -> None:
    """Alone on 5 USD, the dear model may say 20,000 tokens; with plenty it may say all that it can."""
    books = await dear_books(store, clock)
    await books.key("rich", nano=40 * USD)
    assert (await books.hold("r1", model="dear", prompt=PROMPT, limit=None)).limit > 20_000
    rich = await books.hold("r2", "rich", model="dear", prompt=PROMPT, limit=None)
    assert (rich.limit, rich.limited) == (128_000, False)


class Case:
    """A key with some money asks for one model; the rule's figures, computed apart from it."""

    def __init__(self, of: Model, nano: int) -> None:
        self.model = of
        self.posted_nano = nano
        self.book = lone_book((of,), nano)
        self.account = self.book.accounts["key:k"]
        self.asked = 0

    def ask(self, prompt: int, choices: int, limit: int | None) -> AuthoriseReply:
        """One more call."""
        self.asked += 1
        request = Authorise(
            v=1,
            request_id=f"r{self.asked}",
            digest=b"",
            model="dear",
            prompt_max=prompt,
            choices=choices,
            limit=limit,
        )
        return authorise(self.book, request, "d")

    def bound(self, prompt: int) -> Bound:
        """What such a call can cost."""
        return bound(prompt, self.model.prices[0], self.model.rate)


prices = st.decimals(0, 600, places=3)
cases = st.builds(
    Case,
    st.builds(model, prices, prices, st.integers(1, 400_000)),
    st.integers(0, 100 * USD),
)
prompts = st.integers(0, 400_000)
choices_of = st.integers(1, 8)


@given(case=cases, prompt=prompts, choices=choices_of)
def test_an_unset_limit_is_the_part_or_the_floor(case: Case, prompt: int, choices: int) -> None:
    """The grant is the largest that its part covers; below the floor it is the floor, or the largest that all covers."""
    available = case.posted_nano
    part = available // UNSET_LIMIT_PARTS
    made = case.bound(prompt)
    reply = case.ask(prompt, choices, None)
    most, floor = case.model.max_output, min(UNSET_LIMIT_FLOOR, case.model.max_output)
    if isinstance(reply, Refusal):
        assert reply.reason is Reason.INSUFFICIENT
        assert made.hold_nano(choices * min(UNSET_LIMIT_MIN, most)) > available
        assert made.hold_nano(choices * reply.fitting_limit) <= available or reply.fitting_limit == 0
        return
    assert reply.amount_nano == made.hold_nano(choices * reply.limit) <= available
    assert reply.limited == (reply.limit < most)
    more = made.hold_nano(choices * (reply.limit + 1))
    if reply.amount_nano > part:
        assert reply.limit <= floor or not made.per_output_token, "only the floor may take more than its part"
    if reply.limit < floor:
        assert more > available, "more is affordable, up to the floor"
    elif floor < reply.limit < most:
        assert more > part, "its part covers more"
    if made.hold_nano(choices * most) <= part:
        assert reply.limit == most, "a large balance shrinks nothing"


@given(
    case=cases,
    calls=st.lists(st.tuples(prompts, choices_of, st.none() | st.integers(0, 200_000)), max_size=30),
)
def test_holds_never_exceed_the_balance(case: Case, calls: list[tuple[int, int, int | None]]) -> None:
    """Whatever mix of calls a key makes at once, its holds are at most its balance."""
    held = 0
    for prompt, choices, limit in calls:
        reply = case.ask(prompt, choices, limit)
        held += reply.amount_nano if isinstance(reply, Hold) else 0
        assert case.account.held_nano == held <= case.posted_nano


@given(case=cases, others=st.integers(0, 5), prompt=prompts, choices=choices_of, limit=st.integers(0, 10**6))
def test_a_set_limit_has_all_that_is_available(
    *, case: Case, others: int, prompt: int, choices: int, limit: int
) -> None:
    """A call that sets its limit is granted it, up to the model's own, as long as all that is available covers it."""
    for _ in range(others):
        case.ask(100, 1, None)
    available = case.account.available_nano
    kept = min(limit, case.model.max_output)
    amount = case.bound(prompt).hold_nano(choices * kept)
    reply = case.ask(prompt, choices, limit)
    if amount > available:
        assert isinstance(reply, Refusal)
        assert reply.required_nano == amount
        assert reply.fitting_limit < max(kept, 1)
    else:
        assert isinstance(reply, Hold)
        assert (reply.amount_nano, reply.limit, reply.limited) == (amount, kept, False)
