from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import Price, PriceTier, TokenUsage, bound, charge, check_price, price_on

USD = st.decimals(min_value=0, max_value=1000, places=6)
TOKENS = st.integers(0, 5_000_000)
CLASSES = (
    "input",
    "cached",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
)


@st.composite
def tiers(draw, above: int = 0):
    own = {name: draw(st.none() | USD) for name in CLASSES if name not in {"input", "output"}}
    return PriceTier(input=draw(USD), output=draw(USD), above=above, **own)


@st.composite
def prices(draw):
    rows = [draw(tiers())]
    rows += [draw(tiers(above)) for above in draw(st.sampled_from([(), (128_000,), (100_000, 272_000)]))]
    uplifts = draw(
        st.dictionaries(st.sampled_from(["flex", "priority", "us"]), st.decimals("0.5", 2, places=2))
    )
    return Price(id="row", tiers=tuple(rows), uplifts=uplifts, request=draw(USD))


usages = st.builds(TokenUsage, **dict.fromkeys(CLASSES, TOKENS))
rates = st.decimals("0.01", 2, places=3)


def by_fractions(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> int:
    """The charge computed another way: with fractions, tier by tier, rounded half to even at the end."""
    tier = [row for row in price.tiers if row.above == 0 or usage.prompt > row.above][-1]
    total = Fraction(price.request) * 10**9
    for name in CLASSES:
        base = (
            "input"
            if name in {"input", "cached", "cache_write", "cache_write_1h", "input_audio"}
            else "output"
        )
        own = getattr(tier, name)
        total += getattr(usage, name) * Fraction(own if own is not None else getattr(tier, base)) * 1000
    for name in uplifts:
        total *= Fraction(price.uplifts.get(name, 1))
    return round(total * Fraction(rate))


@given(usages, prices(), rates, st.sampled_from([(), ("flex",), ("priority", "us"), ("unknown",)]))
def test_a_charge_is_the_exact_sum_rounded_once(usage, price, rate, uplifts):
    """The charge equals an independent computation in fractions, to the nano-dollar."""
    assert charge(usage, price, rate, uplifts) == by_fractions(usage, price, rate, uplifts)


@given(usages, prices(), rates, st.sampled_from([(), ("flex",), ("priority", "us")]))
def test_no_charge_exceeds_the_bound(usage, price, rate, uplifts):
    """Whatever mix of classes, tier and uplifts a provider reports within the bounds, the hold covers it."""
    held = bound(usage.prompt, price, rate).hold_nano(usage.completion)
    assert charge(usage, price, rate, uplifts) <= held


@given(prices(), rates, st.integers(0, 200_000), st.integers(0, 10**12))
def test_the_affordable_limit_is_the_largest_that_fits(price, rate, prompt_max, available_nano):
    """The limit that a refusal names fits into what is available, and one token more does not."""
    ceiling = bound(prompt_max, price, rate)
    tokens = ceiling.affordable_tokens(available_nano)
    if tokens is None:
        assert ceiling.hold_nano(10**9) <= available_nano
    elif tokens < 0:
        assert ceiling.hold_nano(0) > available_nano
    else:
        assert ceiling.hold_nano(tokens) <= available_nano < ceiling.hold_nano(tokens + 1)


def test_the_price_of_a_call_is_the_row_in_force_on_its_date():
    """A row applies from its effective date on, never before."""
    tier = PriceTier(input=Decimal(1), output=Decimal(1))
    old = Price(id="old", tiers=(tier,))
    new = Price(id="new", tiers=(tier,), effective=date(2027, 1, 1))
    assert price_on((new, old), date(2026, 12, 31)) is old
    assert price_on((new, old), date(2027, 1, 1)) is new
    assert price_on((new,), date(2026, 12, 31)) is None


def test_the_builtin_catalogue_can_be_priced():
    """Every built-in model has a usable price row, a window and an output limit."""
    assert len(BUILTIN) == 10
    for model in BUILTIN:
        assert model.context > 0
        assert model.max_output > 0
        assert [check_price(row) for row in model.prices] == [None]


def test_usages_add_up_by_class():
    """Adding usages adds every class."""
    one = TokenUsage(*range(1, 9))
    assert one + one == TokenUsage(*range(2, 18, 2))
