from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.money.amounts import NANO_MAX, AmountError, nano, nano_to_usd, nano_up, usd_to_nano


@given(st.integers(-NANO_MAX, NANO_MAX))
def test_an_amount_survives_the_way_to_dollars_and_back(amount_nano):
    """Every amount that the books can hold is shown as dollars without losing a nano-dollar."""
    assert usd_to_nano(nano_to_usd(amount_nano)) == amount_nano


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "-inf", "0.0000000001", "1e30", "9223372036.854775808"]
)
def test_an_amount_that_is_not_exact_is_refused(text):
    """What is no exact, finite number of nano-dollars in range is an error, never a rounded amount."""
    with pytest.raises(AmountError):
        usd_to_nano(text)


def test_rounding_is_half_to_even_and_bounds_round_up():
    """Charges are rounded once, half to even; a bound is never below what it bounds."""
    assert [nano(Decimal(value)) for value in ("0.5", "1.5", "2.5", "2.51")] == [0, 2, 2, 3]
    assert [nano_up(Decimal(value)) for value in ("0", "0.0000001", "1", "1.1")] == [0, 1, 1, 2]
