"""Owns how a call's bill is told by classes of tokens: exact amounts by its price row, with the rounding in the largest."""

from decimal import Decimal
from typing import Final

from msgspec import Struct

from schemas.exports.focus import REQUEST
from schemas.money.amounts import EXACT, NANO_PER_TOKEN, NANO_PER_USD
from schemas.money.pricing import CLASSES, NO_USAGE, Price, TokenUsage, class_price, terms, tier_at

_ZERO: Final = Decimal(0)


class Part(Struct, frozen=True):
    """One class of a call's tokens: USD for a million of them (or for the call), and exact nano-dollars, at list and at its rate."""

    name: str
    quantity: int
    list_unit: Decimal
    unit: Decimal
    list_nano: Decimal
    nano: Decimal


def parts(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> list[Part]:
    """The classes of a usage, as `schemas.money.pricing.charge` adds them up; the fee for the call itself is one of them."""
    if usage == NO_USAGE:
        return []
    tiers, factor = terms(price, uplifts)
    tier = tier_at(tiers, usage.prompt)
    found = [
        _part(name, tokens, EXACT.multiply(class_price(tier, name, others), factor), rate, NANO_PER_TOKEN)
        for name, others in CLASSES
        if (tokens := getattr(usage, name))
    ]
    if price.request:
        found.append(_part(REQUEST, 1, EXACT.multiply(price.request, factor), rate, Decimal(NANO_PER_USD)))
    return found


def _part(name: str, quantity: int, list_unit: Decimal, rate: Decimal, nano: Decimal) -> Part:
    unit = EXACT.multiply(list_unit, rate)
    count = EXACT.multiply(Decimal(quantity), nano)
    return Part(
        name, quantity, list_unit, unit, EXACT.multiply(list_unit, count), EXACT.multiply(unit, count)
    )


def shares(parts: list[Part], billed_nano: int) -> list[tuple[Part, Decimal]]:
    """What each part has of a bill: its exact amount, and the largest what the bill differs by, as far as it can.

    Where a hold or a balance did not cover all, what is missing goes on to the next one. A bill without parts is one of
    its own.
    """
    if not parts:
        return [(Part(REQUEST, 1, _ZERO, _ZERO, _ZERO, _ZERO), Decimal(billed_nano))] if billed_nano else []
    amounts = [part.nano for part in parts]
    rest = Decimal(billed_nano)
    for amount in amounts:
        rest = EXACT.subtract(rest, amount)
    for at in sorted(range(len(parts)), key=lambda at: -amounts[at]):
        given = max(rest, -amounts[at])
        amounts[at] = EXACT.add(amounts[at], given)
        rest = EXACT.subtract(rest, given)
    return list(zip(parts, amounts, strict=True))
