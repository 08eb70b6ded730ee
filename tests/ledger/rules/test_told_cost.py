"""What a worker says a call costs is what the ledger books for it, to the nano, whatever was granted, reported and served."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from ledger.rules.authorise import authorise
from ledger.rules.settlement import settle
from schemas.bus.usage import TOKENS_MAX, Known, UsageEvent
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier, TokenUsage
from schemas.verbs.calls import Authorise, Further, Hold
from tests.fakes.worker import job
from tests.ledger.harness import USD, event, lone_book
from workers.calls.bill import billed_nano

NAMES = ("priority", "flex", "eu", "unheard-of")
PRICE = Price(
    id="odd",
    tiers=(
        PriceTier(input=Decimal("1.37"), output=Decimal("9.11"), cached=Decimal("0.0137")),
        PriceTier(input=Decimal("2.741"), output=Decimal("11.3"), above=500),
    ),
    services={
        "priority": (PriceTier(input=Decimal("2.9"), output=Decimal("17.7")),),
        "flex": (PriceTier(input=Decimal("0.7"), output=Decimal("4.55")),),
    },
    uplifts={"eu": Decimal("1.1")},
    request=Decimal("0.000123"),
)
FIELDS = {"provider": "openai", "pool": "openai", "context": 100_000, "max_output": 1_000}
ODD = Model(id="odd", upstream="up", prices=(PRICE,), rate=Decimal("0.6137"), **FIELDS)
DEAR = Model(
    id="dear",
    upstream="up-dear",
    prices=(Price(id="dear", tiers=(PriceTier(input=Decimal(7), output=Decimal("31.03")),)),),
    rate=Decimal("0.71"),
    **FIELDS,
)
counts = st.integers(0, 2_000)
usages = st.builds(
    TokenUsage, input=counts, cached=counts, cache_write=counts, output=counts, reasoning=counts
)
names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)


def booked_and_told(request: Authorise, told: UsageEvent, candidate: int) -> tuple[int, int | None, Hold]:
    """What the ledger books for an event, what its worker says, and the hold of both."""
    book = lone_book((ODD, DEAR), 100 * USD)
    hold = authorise(book, request, "d")
    assert isinstance(hold, Hold), hold
    terms = hold.candidates[candidate - 1] if candidate else hold
    of = job(
        {},
        price=terms.price,
        rate=terms.rate,
        hold_nano=hold.amount_nano,
        uplifts=terms.uplifts,
        candidate=candidate,
    )
    assert settle(book, told) == "billed"
    row = book.usage.get((request.request_id, 0))
    assert row is not None
    return row.billed_nano, billed_nano(told, of), hold


class Case(Struct, frozen=True):
    """A call: what is asked for, what is granted, what is reported, and whether its tier was said."""

    usage: TokenUsage
    asked: tuple[str, ...]
    served: tuple[str, ...]
    unsaid: bool
    prompt: int
    limit: int
    candidate: int


cases = st.builds(
    Case,
    usage=usages,
    asked=names,
    served=names,
    unsaid=st.booleans(),
    prompt=st.integers(0, 900),
    limit=st.integers(1, 1_000),
    candidate=st.integers(0, 2),
)


@pytest.mark.uncollected("upstreams report more than was granted")
@given(cases)
def test_what_is_told_is_what_is_booked(case: Case) -> None:
    """Tiers by length and service, factors, fees, tiers that nobody said, names without a price, holds that are too small."""
    others = (Further("dear", case.prompt, case.limit),) if case.candidate else ()
    request = Authorise(1, "r", b"", "odd", case.prompt, 1, case.limit, uplifts=case.asked, others=others)
    known = Known.ESTIMATED if case.unsaid else Known.REPORTED
    made = event("r", case.usage, known=known, uplifts=case.served, candidate=case.candidate)
    booked, told, hold = booked_and_told(
        request, structs.replace(made, tier_unsaid=case.unsaid), case.candidate
    )
    assert told == booked <= hold.amount_nano


def test_what_is_parked_is_not_told() -> None:
    """The bound beyond which the books park an event is the one beyond which its worker says nothing."""
    most = event("r", TokenUsage(input=TOKENS_MAX), tries=())
    beyond = event("r", TokenUsage(input=TOKENS_MAX + 1), tries=())
    assert billed_nano(most, job({})) is not None
    assert billed_nano(beyond, job({})) is None
