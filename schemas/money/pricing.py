"""Owns prices: token classes, price rows with their tiers, the charge for usage and the bound behind a hold."""

from datetime import date
from decimal import Decimal

from msgspec import Struct, structs

from schemas.money.amounts import EXACT, NANO_PER_TOKEN, nano, nano_up


class TokenUsage(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Tokens of one call, each in exactly one class, so that no token is ever priced twice.

    OpenAI's `prompt_tokens` is the sum of the input classes and `completion_tokens` the sum of the output classes.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0

    @property
    def prompt(self) -> int:
        """Tokens of all input classes."""
        return self.input + self.cached + self.cache_write + self.cache_write_1h + self.input_audio

    @property
    def completion(self) -> int:
        """Tokens of all output classes."""
        return self.output + self.reasoning + self.output_audio

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        """The sum of two usages, class by class."""
        return TokenUsage(
            input=self.input + other.input,
            cached=self.cached + other.cached,
            cache_write=self.cache_write + other.cache_write,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            input_audio=self.input_audio + other.input_audio,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            output_audio=self.output_audio + other.output_audio,
        )


NO_USAGE = TokenUsage()


class PriceTier(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """List prices in USD per million tokens, for the whole of a call whose prompt has more than `above` tokens.

    A class without a price of its own costs `input` or `output`.
    """

    input: Decimal
    output: Decimal
    above: int = 0
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    input_audio: Decimal | None = None
    reasoning: Decimal | None = None
    output_audio: Decimal | None = None


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dated price row of an upstream model: what the provider lists from `effective` on.

    `tiers` ascend by `above` and start at 0. `uplifts` multiply the whole row by service tier ("flex": 0.5) or
    region; a name that is not there has factor 1. `request` is USD for each call.
    """

    id: str
    tiers: tuple[PriceTier, ...]
    effective: date = date(1970, 1, 1)
    uplifts: dict[str, Decimal] = {}
    request: Decimal = Decimal(0)


_INPUT_CLASSES = ("input", "cached", "cache_write", "cache_write_1h", "input_audio")
_OUTPUT_CLASSES = ("output", "reasoning", "output_audio")
_CLASSES = tuple((name, "input") for name in _INPUT_CLASSES) + tuple(
    (name, "output") for name in _OUTPUT_CLASSES
)
_USD = Decimal(1_000_000_000)
_ONE = Decimal(1)


def price_on(rows: tuple[Price, ...], day: date) -> Price | None:
    """The row in force on a day: the latest whose `effective` is not after it."""
    live = [row for row in rows if row.effective <= day]
    return max(live, key=lambda row: row.effective) if live else None


def _class_price(tier: PriceTier, name: str, base: str) -> Decimal:
    own: Decimal | None = getattr(tier, name)
    return own if own is not None else getattr(tier, base)


def _tier(price: Price, prompt_tokens: int) -> PriceTier:
    chosen = price.tiers[0]
    for tier in price.tiers:
        if prompt_tokens > tier.above:
            chosen = tier
    return chosen


def _uplift(price: Price, names: tuple[str, ...]) -> Decimal:
    factor = _ONE
    for name in names:
        factor = EXACT.multiply(factor, price.uplifts.get(name, _ONE))
    return factor


def charge(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...] = ()) -> int:
    """Nano-dollars for a call's usage at a share of list price: the exact sum over classes, rounded once.

    With rate 1 this is the list price. `uplifts` names the service tier and region that served the call.
    """
    tier = _tier(price, usage.prompt)
    total = EXACT.multiply(price.request, _USD)
    for name, base in _CLASSES:
        tokens: int = getattr(usage, name)
        if tokens:
            per_token = EXACT.multiply(_class_price(tier, name, base), NANO_PER_TOKEN)
            total = EXACT.add(total, EXACT.multiply(per_token, Decimal(tokens)))
    return nano(EXACT.multiply(EXACT.multiply(total, rate), _uplift(price, uplifts)))


class Bound(Struct, frozen=True):
    """What a call can cost at most, in exact nano-dollars: `fixed` plus `per_output_token` for each granted token."""

    fixed: Decimal
    per_output_token: Decimal

    def hold_nano(self, output_tokens: int) -> int:
        """Nano-dollars that no charge for at most so many output tokens can exceed."""
        return nano_up(EXACT.add(self.fixed, EXACT.multiply(self.per_output_token, Decimal(output_tokens))))

    def affordable_tokens(self, available_nano: int) -> int | None:
        """Most output tokens whose hold fits into an amount; None when output is free; negative if none fits."""
        rest = EXACT.subtract(Decimal(available_nano), self.fixed)
        if rest < 0:
            return -1
        if not self.per_output_token:
            return None
        return int(rest // self.per_output_token)


def bound(prompt_max: int, price: Price, rate: Decimal) -> Bound:
    """The bound of a call whose prompt has at most so many tokens.

    It takes the dearest input class and the dearest output class of every tier that the prompt can reach, at the
    dearest uplift: a true upper bound, whatever the provider then reports within those limits.
    """
    reached = [tier for tier in price.tiers if tier.above == 0 or prompt_max > tier.above]
    dearest_in = max(_class_price(tier, name, "input") for tier in reached for name in _INPUT_CLASSES)
    dearest_out = max(_class_price(tier, name, "output") for tier in reached for name in _OUTPUT_CLASSES)
    dearest_uplift = _dearest_uplift(price)
    share = EXACT.multiply(rate, dearest_uplift)
    fixed = EXACT.add(
        EXACT.multiply(EXACT.multiply(dearest_in, NANO_PER_TOKEN), Decimal(prompt_max)),
        EXACT.multiply(price.request, _USD),
    )
    return Bound(
        EXACT.multiply(fixed, share), EXACT.multiply(EXACT.multiply(dearest_out, NANO_PER_TOKEN), share)
    )


def _dearest_uplift(price: Price) -> Decimal:
    # A service tier and a region may apply together, so every factor above 1 counts.
    factor = _ONE
    for uplift in price.uplifts.values():
        factor = EXACT.multiply(factor, max(uplift, _ONE))
    return factor


def check_price(price: Price) -> str | None:
    """Why a price row cannot be used, or None: tiers must start at 0 and ascend, and no price may be negative."""
    thresholds = [tier.above for tier in price.tiers]
    if not thresholds or thresholds[0] != 0 or thresholds != sorted(set(thresholds)):
        return "its tiers must start at 0 and ascend"
    amounts = [price.request, *price.uplifts.values()]
    for tier in price.tiers:
        amounts += [
            value for key, value in structs.asdict(tier).items() if key != "above" and value is not None
        ]
    if any(not amount.is_finite() or amount < 0 for amount in amounts):
        return "its prices must be finite and not negative"
    return None
