"""A bill by classes of tokens: exact by the price row, and the bill to the nano-dollar."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.exports import classes
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge

PRICE = Price(
    id="m",
    tiers=(
        PriceTier(input=Decimal("2.5"), output=Decimal("10.07"), cached=Decimal("0.123")),
        PriceTier(input=Decimal(5), output=Decimal(20), above=200),
    ),
    uplifts={"eu": Decimal("1.1")},
    request=Decimal("0.000001"),
)
tokens = st.integers(0, 1_000)
usages = st.builds(TokenUsage, input=tokens, cached=tokens, output=tokens, reasoning=tokens)


@given(usages, st.sampled_from(["1", "0.6", "0.6137"]), st.sampled_from([(), ("eu",)]), st.integers(0, 10**7))
def test_shares_are_the_bill(usage: TokenUsage, rate: str, uplifts: tuple[str, ...], cut: int) -> None:
    """Classes are what the charge adds up; their shares are the bill exactly, none below zero, the rest in the largest."""
    parts = classes.parts(usage, PRICE, Decimal(rate), uplifts)
    owed = charge(usage, PRICE, Decimal(rate), uplifts) if parts else 0
    exact = sum((part.nano for part in parts), Decimal(0))
    assert abs(exact - owed) <= Decimal("0.5")
    for billed in (owed, max(owed - cut, 0)):
        shares = classes.shares(parts, billed)
        assert sum((share for _, share in shares), Decimal(0)) == billed
        assert all(share >= 0 for _, share in shares)
    changed = [part for part, share in classes.shares(parts, owed) if share != part.nano]
    assert all(part.nano == max(one.nano for one in parts) for part in changed)


def test_a_bill_without_tokens_is_a_request() -> None:
    """A bill that no class explains is a part of its own, and nothing is nothing."""
    ((part, share),) = classes.shares([], 7)
    assert (part.name, share) == ("request", 7)
    assert classes.shares([], 0) == []
