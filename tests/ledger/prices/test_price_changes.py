"""Prices by day, tier, service tier and region: a change applies from its date and never to a call already authorised."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from msgspec import structs

from ledger.commits.opening import changes, write_catalogue, write_changes
from ledger.prices.offers import Catalogue
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.ledger.conftest import Source
from tests.ledger.harness import MODEL, POOLS, USD, Books, Clock, event

CHANGE = date(2026, 11, 23)
EVENING_MS = int(datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)
USAGE = TokenUsage(input=1_000, cached=300, output=200)
RATE = Decimal("0.60")


def price(usd_in: str, usd_out: str, effective: date = date(1970, 1, 1)) -> Price:
    """A row of one tier with a service tier and a region."""
    return Price(
        id=f"row-{usd_in}-{effective}",
        tiers=(PriceTier(input=Decimal(usd_in), output=Decimal(usd_out)),),
        effective=effective,
        uplifts={"flex": Decimal("0.5"), "eu": Decimal("1.1")},
    )


def models(*rows: Price) -> tuple[Model, ...]:
    """The catalogue with other prices for one model."""
    return tuple(structs.replace(one, prices=rows) if one.id == MODEL else one for one in BUILTIN)


OLD, NEW = price("2.00", "8.00"), price("3.00", "9.00", CHANGE)


async def opened(source: Source, clock: Clock, *rows: Price) -> Books:
    """Books with these rows for one model."""
    return await Books.open(await source.open(), clock, models(*rows))


async def test_a_change_applies_from_its_date(source: Source, clock: Clock) -> None:
    """At midnight UTC the new row is in force; a call authorised a second earlier is billed at the old one, whenever it ends."""
    clock.ms = EVENING_MS
    books = await opened(source, clock, OLD, NEW)
    key_id = await books.key(nano=100 * USD)
    before = await books.hold("before", prompt=5_000)
    clock.turn(1)
    after = await books.hold("after", prompt=5_000)
    assert (before.price.id, after.price.id) == (OLD.id, NEW.id)
    assert before.amount_nano < after.amount_nano
    clock.turn(86_400)
    await books.settle(event("before", USAGE), event("after", USAGE))
    rows = {row["request_id"]: row for row in await books.usage(key_id)}
    assert rows["before"]["billed_nano"] == charge(USAGE, OLD, RATE)
    assert rows["after"]["billed_nano"] == charge(USAGE, NEW, RATE)
    await books.check()
    await books.close()


async def test_another_configuration_leaves_calls_in_flight_alone(source: Source, clock: Clock) -> None:
    """A ledger that starts with other prices bills a hold of the earlier one at the row that the hold pinned."""
    books = await opened(source, clock, OLD)
    key_id = await books.key(nano=100 * USD)
    await books.hold("before", prompt=5_000)
    await books.close()
    dearer = price("30.00", "90.00")
    store = await source.again()
    await write_catalogue(store, models(dearer), POOLS)
    books = Books(store, clock, models(dearer))
    await books.hold("after", prompt=5_000)
    await books.settle(event("before", USAGE), event("after", USAGE))
    rows = {row["request_id"]: row for row in await books.usage(key_id)}
    assert rows["before"]["billed_nano"] == charge(USAGE, OLD, RATE)
    assert rows["after"]["billed_nano"] == charge(USAGE, dearer, RATE)
    await books.check()
    await books.close()


async def test_a_reload_leaves_calls_in_flight_alone(source: Source, clock: Clock) -> None:
    """The next hold has the new price, one of before keeps its own, also of a model that is gone; few rows are written."""
    books = await opened(source, clock, OLD)
    key_id = await books.key(nano=100 * USD)
    await books.hold("before", prompt=5_000)
    dearer = price("30.00", "90.00")
    gone = next(one for one in BUILTIN if one.id != MODEL)
    old = books.committer.catalogue
    for name, new in (
        ("after", Catalogue(tuple(one for one in models(dearer) if one.id != gone.id))),
        ("again", Catalogue(models(OLD))),
    ):
        found = changes(old, new)
        assert [one.id for one in found.models] == ([MODEL] if name == "after" else sorted((MODEL, gone.id)))
        assert found.gone == ({gone.id} if name == "after" else frozenset())
        await write_changes(books.store, found, POOLS)
        books.committer.catalogue = old = new
        written = {str(row[0]) for row in await books.store.fetch("SELECT id FROM models")}
        assert written == new.models.keys()
        await books.hold(name, prompt=5_000)
        assert await books.store.fetch(
            "SELECT posted_nano FROM accounts WHERE id = $1", "upstream:openai:main"
        )
    books.committer.catalogue = Catalogue(tuple(one for one in BUILTIN if one.id != MODEL))
    await books.settle(*(event(name, USAGE) for name in ("before", "after", "again")))
    rows = {row["request_id"]: row for row in await books.usage(key_id)}
    assert rows["before"]["billed_nano"] == rows["again"]["billed_nano"] == charge(USAGE, OLD, RATE)
    assert rows["after"]["billed_nano"] == charge(USAGE, dearer, RATE)
    await books.check()
    await books.close()


@pytest.mark.parametrize(
    ("uplifts", "factor"),
    [((), "1"), (("flex",), "0.5"), (("eu",), "1.1"), (("flex", "eu"), "0.55"), (("unheard-of",), "1.1")],
)
async def test_service_tier_and_region(
    source: Source, clock: Clock, uplifts: tuple[str, ...], factor: str
) -> None:
    """What the provider says it used multiplies the row, for the caller and for our cost; the hold covers what was asked for.

    What the row does not know costs the dearest that it knows.
    """
    books = await opened(source, clock, OLD)
    key_id = await books.key(nano=100 * USD)
    hold = await books.hold("r1", prompt=1_300, limit=200, uplifts=uplifts)
    await books.settle(event("r1", USAGE, uplifts=uplifts))
    (row,) = await books.usage(key_id)
    exact = Decimal(1_300 * 2_000 + 200 * 8_000) * Decimal(factor)
    assert (row["billed_nano"], row["list_nano"]) == (exact * RATE, exact)
    assert row["billed_nano"] <= hold.amount_nano
    assert await books.account("upstream:openai:main") == 1000 * USD - exact
    await books.check()
    await books.close()


@pytest.mark.parametrize("prompt", [1_999, 2_000, 2_001])
async def test_the_tier_of_the_whole_prompt(source: Source, clock: Clock, prompt: int) -> None:
    """Above a tier's threshold all of the call costs that tier's prices; the hold covers the tier that it can reach."""
    tiered = Price(
        id="tiered",
        tiers=(
            PriceTier(input=Decimal(2), output=Decimal(8)),
            PriceTier(above=2_000, input=Decimal(4), output=Decimal(12)),
        ),
    )
    books = await opened(source, clock, tiered)
    key_id = await books.key(nano=100 * USD)
    hold = await books.hold("r1", prompt=prompt, limit=100)
    await books.settle(event("r1", TokenUsage(input=prompt, output=100)))
    (row,) = await books.usage(key_id)
    dear = prompt > 2_000
    assert row["list_nano"] == prompt * (4_000 if dear else 2_000) + 100 * (12_000 if dear else 8_000)
    assert row["billed_nano"] == hold.amount_nano == row["list_nano"] * RATE
    await books.check()
    await books.close()
