"""Unknown is dear: what a provider serves under and no row prices, or nobody asked for, is billed and remembered."""

from decimal import Decimal

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from ledger.commits.opening import write_catalogue
from ledger.prices.reach import NAMES_MAX, Surprises, pool_regions
from ledger.verbs.surprises import surprises
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier, TokenUsage, bound, charge
from schemas.verbs.surprises import SurprisesForget
from tests.ledger.conftest import Source
from tests.ledger.harness import MODEL, POOLS, USD, Books, Clock, event

RATE = Decimal("0.60")
# As gpt-6.1-sol is sold: priority is twice the list price, flex half of it.
SOL = Price(
    id="sol",
    tiers=(PriceTier(input=Decimal(2), output=Decimal(12), cached=Decimal("0.2")),),
    services={
        "priority": (PriceTier(input=Decimal(4), output=Decimal(24), cached=Decimal("0.4")),),
        "flex": (PriceTier(input=Decimal(1), output=Decimal(6), cached=Decimal("0.2")),),
    },
    uplifts={"us": Decimal("1.1")},
)
USAGE = TokenUsage(input=1_000, cached=300, output=200)
AT_LIST = 1_000 * 2_000 + 300 * 200 + 200 * 12_000


def models(price: Price = SOL) -> tuple[Model, ...]:
    """The catalogue with this price for one model."""
    return tuple(structs.replace(one, prices=(price,)) if one.id == MODEL else one for one in BUILTIN)


async def opened(source: Source, clock: Clock, price: Price = SOL) -> Books:
    """Books that sell at this price, and a key with money."""
    books = await Books.open(await source.open(), clock, models(price))
    await books.key(nano=100 * USD)
    return books


async def test_priority_on_sol_is_twice_the_list_price(source: Source, clock: Clock) -> None:
    """A call that asked for priority holds for its table and is billed by it, to the nano-dollar; flex keeps its cached price."""
    books = await opened(source, clock)
    dear = await books.hold("r1", prompt=1_300, limit=200, uplifts=("priority",))
    plain = await books.hold("r2", prompt=1_300, limit=200, uplifts=("flex",))
    assert dear.amount_nano == bound(1_300, SOL, RATE, ("priority",)).hold_nano(200)
    assert plain.amount_nano == bound(1_300, SOL, RATE).hold_nano(200) == dear.amount_nano / 2
    await books.settle(event("r1", USAGE, uplifts=("priority",)), event("r2", USAGE, uplifts=("flex",)))
    rows = {row["request_id"]: row for row in await books.usage()}
    assert rows["r1"]["list_nano"] == 2 * AT_LIST
    assert rows["r1"]["billed_nano"] == 2 * AT_LIST * RATE
    assert rows["r2"]["list_nano"] == 1_000 * 1_000 + 300 * 200 + 200 * 6_000
    assert not (await surprises(books.store)).rows
    await books.check()
    await books.close()


@pytest.mark.uncollected("its upstream serves dearer than was asked for")
@pytest.mark.parametrize(
    ("uplift", "known"),
    [("priority", ("priority",)), ("turbo", ("priority", "us")), ("\x00" * 99, ("priority", "us"))],
)
async def test_what_nobody_asked_for_is_dear_but_never_above_the_hold(
    source: Source, clock: Clock, uplift: str, known: tuple[str, ...]
) -> None:
    """It costs its own table, or the dearest of the row, at most the hold; and the next hold takes that table."""
    books = await opened(source, clock)
    first = await books.hold("r1", prompt=1_300, limit=200)
    assert first.amount_nano == bound(1_300, SOL, RATE).hold_nano(200)
    with capture_logs() as logs:
        await books.settle(event("r1", USAGE, uplifts=(uplift,)))
        await books.hold("r2", prompt=1_300, limit=200)
        await books.settle(event("r2", USAGE, uplifts=(uplift,)))
    rows = {row["request_id"]: row for row in await books.usage()}
    owed = charge(USAGE, SOL, RATE, known)
    assert rows["r1"]["billed_nano"] == first.amount_nano < owed
    assert rows["r1"]["uncollected_nano"] == owed - first.amount_nano
    assert (rows["r2"]["billed_nano"], rows["r2"]["uncollected_nano"]) == (owed, 0)
    assert await books.account("upstream:openai:main") == 1000 * USD - 2 * charge(
        USAGE, SOL, Decimal(1), known
    )
    (said,) = [line for line in logs if line["event"] == "unpriced_uplift"]
    assert (said["pool"], said["account"], said["upstream"]) == ("openai", "main", MODEL)
    await books.check()
    await books.close()


@pytest.mark.uncollected("its upstream serves dearer than was asked for")
async def test_it_survives_a_restart_until_a_person_forgets_it(source: Source, clock: Clock) -> None:
    """Another ledger on the same books holds as dearly; once forgotten, holds are plain again, also there within a minute."""
    books = await opened(source, clock)
    plain = (await books.hold("r1", prompt=1_300, limit=200)).amount_nano
    await books.settle(event("r1", USAGE, uplifts=("turbo",)))
    store = await source.again()
    await write_catalogue(store, models(), POOLS)
    other = Books(store, clock, models())
    dear = (await other.hold("r2", prompt=1_300, limit=200)).amount_nano
    assert dear == bound(1_300, SOL, RATE, ("turbo",)).hold_nano(200) > 2 * plain
    assert [(row["account"], row["uplift"]) for row in (await surprises(store)).rows] == [("main", "turbo")]
    await books.do(SurprisesForget(1, "openai", "another"))
    assert (await books.hold("r3", prompt=1_300, limit=200)).amount_nano == dear
    await books.do(SurprisesForget(1, "openai"))
    assert not (await surprises(store)).rows
    assert (await books.hold("r4", prompt=1_300, limit=200)).amount_nano == plain
    clock.turn(61)
    assert (await other.hold("r5", prompt=1_300, limit=200)).amount_nano == plain
    await other.close()
    await books.close()


@pytest.mark.uncollected("its upstream serves dearer than was asked for")
async def test_a_report_that_comes_again_tells_nothing_anew(source: Source, clock: Clock) -> None:
    """What a person has forgotten stays forgotten when the stream delivers the same report once more."""
    books = await opened(source, clock)
    await books.hold("r1", prompt=1_300, limit=200)
    await books.hold("r2", prompt=1_300, limit=200)
    reports = (event("r1", USAGE, uplifts=("turbo",)), event("r2", USAGE, attempt=2, uplifts=("turbo",)))
    await books.settle(*reports)
    assert (await surprises(books.store)).rows
    await books.do(SurprisesForget(1, "openai"))
    await books.settle(*reports)
    assert not (await surprises(books.store)).rows
    await books.close()


async def test_what_is_cheaper_or_asked_for_is_no_surprise(source: Source, clock: Clock) -> None:
    """A tier that costs no more than the hold reckons with leaves no trace, nor does another model's name."""
    books = await opened(source, clock)
    for name, asked, served in (
        ("r1", (), ("flex",)),
        ("r2", ("priority",), ()),
        ("r3", ("us",), ("us", "flex")),
        ("r4", (), ("model:other",)),
    ):
        await books.hold(name, prompt=1_300, limit=200, uplifts=asked)
        await books.settle(event(name, USAGE, uplifts=served))
    assert not (await surprises(books.store)).rows
    await books.check()
    await books.close()


async def test_an_estimate_is_billed_at_what_was_asked_for(source: Source, clock: Clock) -> None:
    """No report came: the call is taken to have been served as it asked."""
    books = await opened(source, clock)
    hold = await books.hold("r1", prompt=1_300, limit=200, uplifts=("priority",))
    assert await books.estimate(hold, USAGE)
    (row,) = await books.usage()
    assert row["billed_nano"] == charge(USAGE, SOL, RATE, ("priority",))
    await books.check()
    await books.close()


@pytest.mark.parametrize("known", [Known.ESTIMATED, Known.REPORTED])
async def test_a_call_that_broke_off_before_its_tier_was_said(
    source: Source, clock: Clock, known: Known
) -> None:
    """A hang-up's estimate costs what was asked for, at most the hold, and so does its try; what was said is believed."""
    books = await opened(source, clock)
    unsaid, total = known is Known.ESTIMATED, 0
    for name, asked, told in (
        ("r1", ("priority",), ()),
        ("r2", ("priority", "us"), ("us",)),
        ("r3", (), ()),
    ):
        hold = await books.hold(name, prompt=1_300, limit=200, uplifts=asked)
        cancelled = event(name, USAGE, outcome=Outcome.CANCELLED, known=known, uplifts=told)
        await books.settle(structs.replace(cancelled, tier_unsaid=unsaid))
        row = next(one for one in await books.usage() if one["request_id"] == name)
        under = asked if unsaid else told
        assert row["billed_nano"] == charge(USAGE, SOL, RATE, under) <= hold.amount_nano
        assert row["list_nano"] == charge(USAGE, SOL, Decimal(1), under)
        total += row["list_nano"]
        assert await books.account("upstream:openai:main") == 1000 * USD - total
    await books.check()
    await books.close()


@pytest.mark.uncollected("its estimate is larger than what it was granted")
async def test_a_broken_off_call_never_costs_more_than_its_hold(source: Source, clock: Clock) -> None:
    """The hold's own tier is a reason to charge up to the hold, and no more."""
    books = await opened(source, clock)
    hold = await books.hold("r1", prompt=1_300, limit=200, uplifts=("priority",))
    more = structs.replace(USAGE, output=5_000)
    cancelled = event("r1", more, outcome=Outcome.CANCELLED, known=Known.ESTIMATED)
    await books.settle(structs.replace(cancelled, tier_unsaid=True))
    (row,) = await books.usage()
    assert row["billed_nano"] == hold.amount_nano
    await books.check()
    await books.close()


def test_a_pool_of_a_region_holds_for_its_uplift() -> None:
    """Accounts at us. and eu.api.openai.com bind their pool to the region; a server of another name does not."""
    pool = PoolSettings(
        name="main",
        provider="openai",
        accounts=(
            AccountSettings(id="a", base_url="https://api.openai.com/v1"),
            AccountSettings(id="b", base_url="https://us.api.openai.com/v1"),
            AccountSettings(id="c", base_url="https://us.api.openai.com.example.org/v1"),
        ),
    )
    assert pool_regions([pool]) == {"main": ("us",)}


def test_surprises_are_bounded() -> None:
    """An account that says another name each time leaves a few: any of them already means the dearest."""
    known = Surprises(("p", "a", "m", f"tier-{number}") for number in range(1_000))
    assert len(known.names("p", "m")) == NAMES_MAX
    assert known.has("p", "a", "m", "one-more")
    assert not known.has("p", "b", "m", "one-more")
    assert known.names("p", "other") == ()
