"""Prices: exact ids only, the quick arithmetic equal to the slow one, refusal of what cannot be priced."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ledger.commits.ranges import advance, ranges_of
from ledger.prices.charge import Meter
from ledger.prices.listed import look_up, priced
from ledger.prices.offers import Catalogue
from runtime.settings.settings import Settings, SettingsError
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import NO_USAGE, Price, PriceTier, TokenUsage, bound, charge, check_price

TODAY = date(2026, 11, 22)
_amounts = st.decimals(0, 1000, places=4).map(abs)
_maybe = st.none() | _amounts
_tiers = st.builds(
    PriceTier,
    input=_amounts,
    output=_amounts,
    cached=_maybe,
    cache_write=_maybe,
    cache_write_long=_maybe,
    input_audio=_maybe,
    reasoning=_maybe,
    output_audio=_maybe,
    cached_audio=_maybe,
)
_prices = st.builds(
    lambda first, second, above, uplift, service, fee: Price(
        id="p",
        tiers=(first, structs.replace(second, above=above)),
        uplifts={"fast": Decimal("0.5"), "eu": uplift},
        services={"flex": (service, structs.replace(first, above=2 * above)), "priority": (second,)},
        request=fee,
    ),
    _tiers,
    _tiers,
    st.integers(1, 5000),
    st.decimals(0, 3, places=3).map(abs),
    _tiers,
    st.decimals(0, 1, places=6).map(abs),
)
_usages = st.builds(TokenUsage, *[st.integers(0, 3000)] * 9)
_served = st.sampled_from(
    [(), ("flex",), ("eu",), ("priority", "fast"), ("flex", "priority"), ("eu", "flex", "unknown")]
)
_rates = st.decimals(0, 2, places=4).map(abs)


@settings(deadline=None)
@given(_prices, _usages, _rates, _served)
def test_the_meter_is_the_charge(
    price: Price, usage: TokenUsage, rate: Decimal, uplifts: tuple[str, ...]
) -> None:
    """Integer arithmetic gives schemas.pricing.charge to the nano-dollar, at the rate and at list price."""
    billed, listed = Meter(price, rate, uplifts).charges(usage)
    if usage == NO_USAGE:
        assert (billed, listed) == (0, 0)
        return
    assert billed == charge(usage, price, rate, uplifts)
    assert listed == charge(usage, price, Decimal(1), uplifts)


@settings(deadline=None)
@given(_prices, st.integers(0, 10_000), _rates, _served)
def test_the_quick_bound_is_the_bound(
    price: Price, prompt: int, rate: Decimal, uplifts: tuple[str, ...]
) -> None:
    """What the catalogue keeps of a bound gives the same holds."""
    quick = Catalogue(()).bound("ref", price, rate, prompt, uplifts)
    slow = bound(prompt, price, rate, uplifts)
    assert (quick.fixed, quick.per_output_token) == (slow.fixed, slow.per_output_token)


def test_exact_ids_only() -> None:
    """Any of these is like a model that the catalogue knows; none is one."""
    assert look_up("openai", "gpt-4o")
    assert look_up("openai", "gpt-4o-2024-11-20")  # an alias that is spelled out
    for likeness in ("gpt-4o-audio-preview-x", "GPT-4o", "openai/gpt-4o", "gpt-4o-2099-01-01", ""):
        assert look_up("openai", likeness) == ()
    assert look_up("anthropic", "gpt-4o") == ()
    assert look_up("nobody", "gpt-4o") == ()
    for provider, upstream in (("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-pro")):
        rows = look_up(provider, upstream)
        assert rows
        assert all(check_price(row) is None for row in rows)
    tiered = look_up("gemini", "gemini-2.5-pro")[0]
    assert [tier.above for tier in tiered.tiers] == [0, 200_000]


def test_missing_prices_come_from_the_catalogue() -> None:
    """A model without rows takes the catalogue's for exactly its upstream id, dated rows, tiers and service tiers too."""
    model = structs.replace(BUILTIN[0], id="mine", prices=())
    (found,) = priced(Settings(models=(model,)), TODAY)
    assert found.prices[0].tiers[0].input == Decimal("2.5")
    assert found.prices[0].id.startswith("catalogue:openai:gpt-4o")
    argon = structs.replace(BUILTIN[0], provider="gemini", upstream="gemini-4-argon", prices=())
    (found,) = priced(Settings(models=(argon,)), TODAY)
    assert [price.effective for price in found.prices] == [date(1970, 1, 1), date(2026, 12, 1)]
    assert [price.services["priority"][0].input for price in found.prices] == [Decimal("3.6"), Decimal("7.2")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upstream": "nobody-knows", "prices": ()}, "no price is known"),
        ({"max_output": 0}, "max_output"),
        ({"context": 0}, "context"),
        ({"prices": (structs.replace(BUILTIN[0].prices[0], effective=date(2030, 1, 1)),)}, "in force"),
        ({"rate": Decimal(-1)}, "rate"),
    ],
)
def test_what_cannot_be_sold_is_refused(change: dict[str, object], words: str) -> None:
    """A model without price, context or limit stops the start, with one line that names it."""
    model = structs.replace(BUILTIN[0], **change)
    with pytest.raises(SettingsError, match=words):
        priced(Settings(models=(model,)), TODAY)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40)), st.integers(0, 10), st.integers(1, 5))
def test_positions_do_not_depend_on_order(sequences: list[int], applied: int, parts: int) -> None:
    """However sequences are split over commits, the position is the end of the unbroken run from the start."""
    position, ahead = applied, []
    for part in range(parts):
        position, ahead = advance(position, [*ahead, *ranges_of(sequences[part::parts])])
    every = set(range(1, applied + 1)) | set(sequences)
    expected = applied
    while expected + 1 in every:
        expected += 1
    assert position == expected
    assert all(first > position + 1 for first, _ in ahead)
    covered = {number for first, last in ahead for number in range(first, last + 1)}
    assert covered == {number for number in every if number > position}
