"""Owns money: integer nano-dollars and the exact arithmetic behind every price."""

from decimal import (
    ROUND_CEILING,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

NANO_PER_USD = 1_000_000_000
NANO_MAX = 2**63 - 1  # what a BIGINT holds: 9.2 billion USD
# A price in USD per million tokens, times this, is nano-dollars per token.
NANO_PER_TOKEN = Decimal(1_000)

# Sums and products of prices are exact or they fail: only `nano` and `nano_up` round, once.
EXACT = Context(prec=120, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
_ROUND = Context(prec=120, traps=[InvalidOperation, DivisionByZero, Overflow])
_ONE = Decimal(1)


class AmountError(ValueError):
    """An amount of money that is not an exact, finite number of nano-dollars in range."""


def nano(amount: Decimal) -> int:
    """Nano-dollars nearest to an exact amount of nano-dollars, half to even."""
    return int(amount.quantize(_ONE, ROUND_HALF_EVEN, _ROUND))


def nano_up(amount: Decimal) -> int:
    """Nano-dollars that are at least an exact amount of nano-dollars: for bounds, never for charges."""
    return int(amount.quantize(_ONE, ROUND_CEILING, _ROUND))


def usd_to_nano(text: str) -> int:
    """Nano-dollars in a decimal number of dollars. Raises AmountError unless it is exact, finite and in range."""
    try:
        amount = EXACT.multiply(EXACT.create_decimal(text.strip()), Decimal(NANO_PER_USD))
        whole = amount.to_integral_exact(context=EXACT)
    except (ArithmeticError, ValueError):
        raise AmountError(f"{text!r} is not an amount in USD with at most nine decimals") from None
    if not whole.is_finite() or abs(whole) > NANO_MAX:
        raise AmountError(f"{text!r} is out of range")
    return int(whole)


def nano_to_usd(amount_nano: int) -> str:
    """A decimal string of dollars, exact, with at least two decimals: 1_500_000_000 is "1.50"."""
    sign = "-" if amount_nano < 0 else ""
    whole, rest = divmod(abs(amount_nano), NANO_PER_USD)
    fraction = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{fraction}"
