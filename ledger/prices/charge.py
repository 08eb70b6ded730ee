"""Owns the quick form of a price: exact integer arithmetic that gives what `schemas.money.pricing.charge` gives."""

from decimal import Decimal
from fractions import Fraction
from math import lcm

from msgspec.structs import astuple

from schemas.money.amounts import NANO_PER_TOKEN, NANO_PER_USD
from schemas.money.pricing import CLASSES, NO_USAGE, Price, TokenUsage, class_price, terms


class Meter:
    """One price row at one rate and one set of uplifts. All prices are whole multiples of one over `_scale`."""

    def __init__(self, price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> None:
        tiers, uplift = terms(price, uplifts)
        factor = Fraction(uplift)
        per_class = [
            [Fraction(class_price(tier, *one)) * Fraction(NANO_PER_TOKEN) * factor for one in CLASSES]
            for tier in tiers
        ]
        fee = Fraction(price.request) * NANO_PER_USD * factor
        share = Fraction(rate)
        exact = [fee, fee * share, *(one for tier in per_class for one in tier)]
        exact += [one * share for tier in per_class for one in tier]
        self._scale = lcm(*(one.denominator for one in exact))
        self._fees = (int(fee * share * self._scale), int(fee * self._scale))
        self._tiers = [
            (
                tier.above,
                tuple(int(one * share * self._scale) for one in values),
                tuple(int(one * self._scale) for one in values),
            )
            for tier, values in zip(tiers, per_class, strict=True)
        ]

    def charges(self, usage: TokenUsage) -> tuple[int, int]:
        """Nano-dollars at the rate and at list price, each rounded once. No usage at all costs nothing."""
        if usage == NO_USAGE:
            return 0, 0
        tokens = astuple(usage)
        _, at_rate, at_list = self._tiers[0]
        if len(self._tiers) > 1:
            prompt = usage.prompt
            for above, tier_rate, tier_list in self._tiers:
                if prompt > above:
                    at_rate, at_list = tier_rate, tier_list
        billed, listed = self._fees
        for count, one_rate, one_list in zip(tokens, at_rate, at_list, strict=True):
            if count:
                billed += count * one_rate
                listed += count * one_list
        return _half_even(billed, self._scale), _half_even(listed, self._scale)


def _half_even(amount: int, scale: int) -> int:
    whole, rest = divmod(amount, scale)
    rest *= 2
    return whole + (rest > scale or (rest == scale and whole % 2))
