"""Owns tables of prices while they are compared: USD per million tokens by class, tier by tier, exact."""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from schemas.money.pricing import CLASSES, PriceTier

_OTHERS = dict(CLASSES)
_DIGITS = 10  # of a figure: sources write prices as binary fractions, which leave noise behind


class Tier(Struct, frozen=True):
    """Prices for prompts above a number of tokens; a class that is not there has none of its own."""

    above: int
    prices: Mapping[str, Decimal]

    def effective(self, name: str) -> Decimal | None:
        """What a class costs here: its own price, else that of what it falls back to."""
        for one in (name, *_OTHERS[name]):
            if one in self.prices:
                return self.prices[one]
        return None


Table = tuple[Tier, ...]


class Difference(Struct, frozen=True, order=True):
    """Two sources that give different money for a class above a number of tokens; None where one is silent."""

    above: int
    name: str
    one: Decimal | None
    other: Decimal | None


def usd(text: object, factor: int = 1) -> Decimal | None:
    """An exact price from a source's number as it wrote it; None if it is not one."""
    if text is None or isinstance(text, (bool, dict, list)):
        return None
    amount = Decimal(str(text)) * factor
    if amount < 0 or not amount.is_finite():
        return None
    return plain(Decimal(f"{amount:.{_DIGITS}g}"))


def plain(amount: Decimal) -> Decimal:
    """The same number without an exponent or trailing zeros."""
    return Decimal(f"{amount.normalize():f}")


def tier_of(table: Table, above: int) -> Tier:
    """The tier for prompts above a number of tokens."""
    return [tier for tier in table if tier.above <= above][-1]


def starts(*tables: Table) -> list[int]:
    """Where any of the tables changes."""
    return sorted({tier.above for table in tables for tier in table})


def aligned(table: Table, other: Table) -> Table:
    """A table whose tiers begin where another's do, if that is one token earlier: "above 199,999" and "from 200,000"."""
    begins = {tier.above for tier in other}
    return tuple(
        Tier(tier.above - 1, tier.prices) if tier.above - 1 in begins and tier.above > 1 else tier
        for tier in table
    )


def differences(one: Table, other: Table, *, spoken_only: bool = False) -> list[Difference]:
    """Where two tables give different money. `spoken_only` leaves out classes that the other has no price of its own for."""
    found = []
    for above in starts(one, other):
        first, second = tier_of(one, above), tier_of(other, above)
        for name, _ in CLASSES:
            own = first.prices.get(name), second.prices.get(name)
            if not any(own) or (spoken_only and own[1] is None):
                continue
            if first.effective(name) != second.effective(name):
                found.append(Difference(above, name, *own))
    return found


def higher(one: Table, other: Table) -> Table:
    """The dearer of two tables, class by class and tier by tier."""
    merged = []
    for above in starts(one, other):
        tiers = tier_of(one, above), tier_of(other, above)
        names = [name for name, _ in CLASSES if any(name in tier.prices for tier in tiers)]
        prices = {
            name: [price for tier in tiers if (price := tier.effective(name)) is not None] for name in names
        }
        merged.append(Tier(above, {name: max(found) for name, found in prices.items()}))
    return tuple(merged)


def scaled(table: Table, factor: Decimal) -> Table:
    """A table at a share of its prices."""
    return tuple(
        Tier(tier.above, {name: plain(price * factor) for name, price in tier.prices.items()})
        for tier in table
    )


def inherited(table: Table, base: Table) -> Table:
    """A table in which a class that only the base names keeps its proportion to what it falls back to."""
    return tuple(Tier(tier.above, _inherited(tier, tier_of(base, tier.above))) for tier in table)


def completed(service: Table, base: Table) -> Table:
    """A service tier's table with what only the default names: in proportion or as there, whichever is dearer."""
    tiers = []
    for tier in service:
        default = tier_of(base, tier.above)
        prices = {
            name: price for name, price in default.prices.items() if name in ("input", "output")
        } | dict(tier.prices)
        proportional = _inherited(Tier(tier.above, prices), default)
        missing = [name for name in proportional if name not in prices]
        prices |= {name: max(proportional[name], default.prices[name]) for name in missing}
        tiers.append(Tier(tier.above, prices))
    return tuple(tiers)


def _inherited(tier: Tier, base: Tier) -> dict[str, Decimal]:
    prices = dict(tier.prices)
    for name, others in CLASSES:
        if name in prices or name not in base.prices or not others:
            continue
        reference = others[-1]
        if base.prices.get(reference) and reference in prices:
            prices[name] = (
                usd(base.prices[name] * prices[reference] / base.prices[reference]) or prices[reference]
            )
    return prices


def as_rows(table: Table) -> tuple[PriceTier, ...]:
    """A table as the services read it."""
    rows = []
    for tier in table:
        own = {name: price for name, price in tier.prices.items() if name not in ("input", "output")}
        rows.append(
            PriceTier(
                input=tier.prices["input"],
                output=tier.prices.get("output", Decimal(0)),
                above=tier.above,
                **own,
            )
        )
    return tuple(rows)
