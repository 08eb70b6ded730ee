"""Owns how a price of a model is shown: at list and as it is billed, in USD per million tokens, as exact text."""

from decimal import Decimal
from typing import Any

from msgspec import structs

from schemas.money.amounts import EXACT
from schemas.money.pricing import Price


def pricing(price: Price, rate: Decimal) -> dict[str, Any]:
    """One price row as `GET /v1/models` and `tokn models` have it: every tier by default, at list and at a rate."""
    return {
        "unit": "USD per million tokens",
        "rate": str(rate),
        "list": _tiers(price, Decimal(1)),
        "billed": _tiers(price, rate),
    }


def _tiers(price: Price, rate: Decimal) -> list[dict[str, Any]]:
    tiers = []
    for tier in price.tiers:
        amounts = {
            name: value
            for name, value in structs.asdict(tier).items()
            if name != "above" and value is not None
        }
        shown = {name: f"{EXACT.multiply(value, rate).normalize():f}" for name, value in amounts.items()}
        tiers.append({"above_prompt_tokens": tier.above, **shown})
    return tiers
