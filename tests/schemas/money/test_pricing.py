from datetime import date
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import Price, PriceTier, TokenUsage, bound, charge, check_price, price_on

USD = st.decimals(min_value=0, max_value=1000, places=6)
TOKENS = st.integers(0, 5_000_000)
CLASSES = (
    "input",
    "cached",
    "cache_write",
    "cache_write_long",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
    "cached_audio",
)
OUTPUT = {"output", "reasoning", "output_audio"}
NAMES = ("flex", "priority", "us", "fast", "unknown")
served_under = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)


@st.composite
def tiers(draw, above: int = 0):
    own = {name: draw(st.none() | USD) for name in CLASSES if name not in {"input", "output"}}
    return PriceTier(input=draw(USD), output=draw(USD), above=above, **own)


@st.composite
def tables(draw):
    rows = [draw(tiers())]
    rows += [draw(tiers(above)) for above in draw(st.sampled_from([(), (128_000,), (100_000, 272_000)]))]
    return tuple(rows)


@st.composite
def prices(draw):
    uplifts = draw(st.dictionaries(st.sampled_from(["us", "fast"]), st.decimals("0.5", 2, places=2)))
    services = draw(st.dictionaries(st.sampled_from(["flex", "priority"]), tables()))
    return Price(id="row", tiers=draw(tables()), uplifts=uplifts, services=services, request=draw(USD))


usages = st.builds(TokenUsage, **dict.fromkeys(CLASSES, TOKENS))
rates = st.decimals("0.01", 2, places=3)


def per_token(tier: PriceTier, name: str) -> Fraction:
    """USD per million tokens of a class, where it has none of its own that of what it stands for."""
    if name == "cached_audio" and tier.cached_audio is None:
        return per_token(tier, "cached")
    own = getattr(tier, name)
    return Fraction(own if own is not None else tier.output if name in OUTPUT else tier.input)


def by_fractions(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> int:
    """The charge computed another way: with fractions, class by class, rounded half to even at the end."""
    if (
        set(uplifts) - price.services.keys() - price.uplifts.keys()
    ):  # unknown: as dear as anything that is known
        used = [price.tiers, *price.services.values()]
        factors = [max(factor, 1) for factor in price.uplifts.values()]
    else:
        used = [price.services[name] for name in uplifts if name in price.services] or [price.tiers]
        factors = [price.uplifts[name] for name in uplifts if name in price.uplifts]
    reached = [[row for row in table if row.above == 0 or usage.prompt > row.above][-1] for table in used]
    total = Fraction(price.request) * 10**9
    for name in CLASSES:
        total += getattr(usage, name) * max(per_token(tier, name) for tier in reached) * 1000
    for factor in factors:
        total *= Fraction(factor)
    return round(total * Fraction(rate))


@given(usages, prices(), rates, served_under)
def test_a_charge_is_the_exact_sum_rounded_once(usage, price, rate, uplifts):
    """The charge equals an independent computation in fractions, to the nano-dollar."""
    assert charge(usage, price, rate, uplifts) == by_fractions(usage, price, rate, uplifts)


@given(usages, prices(), rates, served_under, st.data())
def test_no_charge_exceeds_the_bound(usage, price, rate, uplifts, data):
    """Whatever mix of classes, tier and uplifts a provider reports within the bounds, the hold covers it.

    It is served under any of the names that the hold reckons with, or under none.
    """
    held = bound(usage.prompt, price, rate, uplifts).hold_nano(usage.completion)
    served = data.draw(st.lists(st.sampled_from(uplifts), unique=True).map(tuple)) if uplifts else ()
    assert charge(usage, price, rate, served) <= held


@given(usages, prices(), rates, served_under)
def test_what_is_not_known_is_never_cheaper_than_what_is(usage, price, rate, uplifts):
    """A name that the row lacks costs at least what the default costs, and any names that the row has."""
    known = tuple(name for name in uplifts if name in price.services or name in price.uplifts)
    assert charge(usage, price, rate, ("unheard-of",)) >= charge(usage, price, rate, known)
    assert charge(usage, price, rate, (*known, "unheard-of")) >= charge(usage, price, rate)


def test_another_model_that_served_is_no_unknown_tier():
    """The name of a model in the report changes no price of the row."""
    tier = PriceTier(input=Decimal(1), output=Decimal(1))
    price = Price(id="row", tiers=(tier,), uplifts={"us": Decimal(3)})
    assert charge(TokenUsage(input=10), price, Decimal(1), ("model:other",)) == 10_000
    assert charge(TokenUsage(input=10), price, Decimal(1), ("model:other", "us")) == 30_000


def test_a_service_tier_has_prices_of_its_own():
    """Half of the input and output, but not of what is cached; and no table has a name that is also a factor."""
    default = PriceTier(input=Decimal("0.30"), output=Decimal("2.50"), cached=Decimal("0.03"))
    flex = PriceTier(input=Decimal("0.15"), output=Decimal("1.25"), cached=Decimal("0.03"))
    price = Price(id="row", tiers=(default,), services={"flex": (flex,)})
    usage = TokenUsage(input=1_000, cached=2_000, output=100)
    assert charge(usage, price, Decimal(1)) == 1_000 * 300 + 2_000 * 30 + 100 * 2_500
    assert charge(usage, price, Decimal(1), ("flex",)) == 1_000 * 150 + 2_000 * 30 + 100 * 1_250
    assert check_price(price) is None
    assert check_price(structs.replace(price, uplifts={"flex": Decimal(1)}))
    assert check_price(structs.replace(price, services={"flex": ()}))
    assert check_price(structs.replace(price, services={"flex": (structs.replace(flex, above=5),)}))
    assert check_price(
        structs.replace(price, services={"flex": (structs.replace(flex, cached_audio=Decimal(-1)),)})
    )


def test_a_price_row_of_an_older_version_is_read():
    """The books keep rows in which the long cache has its older name; what did not change is written as it was."""
    old = b'{"id":"row","tiers":[{"input":"3","output":"15","cache_write_1h":"6"}]}'
    row = msgspec.json.decode(old, type=Price)
    assert row.tiers[0].cache_write_long == 6
    assert msgspec.json.Encoder(decimal_format="string", order="deterministic").encode(row) == old


def test_usage_of_an_older_version_is_read():
    """Eight classes are what a version before wrote; the ninth is 0."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(list(range(8))), type=TokenUsage) == TokenUsage(
        *range(8)
    )


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
    one = TokenUsage(*range(1, 10))
    assert one + one == TokenUsage(*range(2, 20, 2))
    assert one.prompt + one.completion == sum(range(1, 10))
