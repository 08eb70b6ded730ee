"""Owns prices: token classes, price rows with their tiers, the charge for usage and the bound behind a hold."""

from datetime import date
from decimal import Decimal
from typing import Final

from msgspec import Struct, field, structs

from schemas.money.amounts import EXACT, NANO_PER_TOKEN, nano, nano_up


class TokenUsage(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Tokens of one call, each in exactly one class, so that no token is ever priced twice.

    OpenAI's `prompt_tokens` is the sum of the input classes and `completion_tokens` the sum of the output classes.
    `cache_write_long` is written to a cache that lives long: an hour at Anthropic and on Bedrock, twelve at OpenAI.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_long: int = 0
    input_audio: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    cached_audio: int = 0

    @property
    def prompt(self) -> int:
        """Tokens of all input classes."""
        written = self.cache_write + self.cache_write_long
        return self.input + self.cached + written + self.input_audio + self.cached_audio

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
            cache_write_long=self.cache_write_long + other.cache_write_long,
            input_audio=self.input_audio + other.input_audio,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            output_audio=self.output_audio + other.output_audio,
            cached_audio=self.cached_audio + other.cached_audio,
        )


NO_USAGE = TokenUsage()


# Thousands of prices are in memory for good, and none is part of a circle: no collection has to walk them.
class PriceTier(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """List prices in USD per million tokens, for the whole of a call whose prompt has more than `above` tokens.

    A class without a price of its own costs `input` or `output`; cached audio costs what cached text does.
    """

    input: Decimal
    output: Decimal
    above: int = 0
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    # As books and neighbouring versions have it: a row that did not change keeps its reference.
    cache_write_long: Decimal | None = field(default=None, name="cache_write_1h")
    input_audio: Decimal | None = None
    reasoning: Decimal | None = None
    output_audio: Decimal | None = None
    cached_audio: Decimal | None = None


Tiers = tuple[PriceTier, ...]


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One dated price row of an upstream model: what the provider lists from `effective` on.

    Each table of tiers ascends by `above` and starts at 0: `tiers` is the one by default, `services` has another for
    each service tier that is sold ("priority"). `uplifts` multiply whatever table serves, by region, geography or
    speed ("eu": 1.1). `request` is USD for each call. A call is billed by the names that its provider said: what a row
    neither has a table nor a factor for costs the dearest that the row knows, never the default.
    """

    id: str
    tiers: Tiers
    effective: date = date(1970, 1, 1)
    uplifts: dict[str, Decimal] = {}
    request: Decimal = Decimal(0)
    services: dict[str, Tiers] = {}


_INPUT_CLASSES = ("input", "cached", "cache_write", "cache_write_long", "input_audio", "cached_audio")
_OUTPUT_CLASSES = ("output", "reasoning", "output_audio")
# Each class, and those whose price it has where it has none of its own, in turn.
CLASSES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("input", ()),
    ("cached", ("input",)),
    ("cache_write", ("input",)),
    ("cache_write_long", ("input",)),
    ("input_audio", ("input",)),
    ("output", ()),
    ("reasoning", ("output",)),
    ("output_audio", ("output",)),
    ("cached_audio", ("cached", "input")),
)
SERVED_MODEL = (
    "model:"  # begins the name of another model that served: it says nothing of tier, region or speed
)
_USD = Decimal(1_000_000_000)
_ZERO = Decimal(0)
_ONE = Decimal(1)


def price_on(rows: tuple[Price, ...], day: date) -> Price | None:
    """The row in force on a day: the latest whose `effective` is not after it."""
    live = [row for row in rows if row.effective <= day]
    return max(live, key=lambda row: row.effective) if live else None


def class_price(tier: PriceTier, name: str, others: tuple[str, ...]) -> Decimal:
    """The price of a class, by one row of CLASSES: USD per million tokens."""
    for one in (name, *others):
        own: Decimal | None = getattr(tier, one)
        if own is not None:
            return own
    raise AssertionError(f"{name} has no price")  # input and output always have one


def unpriced(price: Price, uplifts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names of a service tier, region or speed that a row has neither a table nor a factor for."""
    return tuple(
        name
        for name in uplifts
        if name not in price.services and name not in price.uplifts and not name.startswith(SERVED_MODEL)
    )


def terms(price: Price, uplifts: tuple[str, ...]) -> tuple[Tiers, Decimal]:
    """The table that a call served under these names is billed by, and the factor on it.

    Where several tables may apply it is the dearest of them, class by class. A name that the row does not know may
    mean any: then all tables and all factors above 1 count.
    """
    if not uplifts:
        return price.tiers, _ONE
    if unpriced(price, uplifts):
        factors = [max(factor, _ONE) for factor in price.uplifts.values()]
        return _dearest((price.tiers, *price.services.values())), _product(factors)
    named = [price.services[name] for name in uplifts if name in price.services]
    factors = [price.uplifts[name] for name in uplifts if name in price.uplifts]
    return _dearest(tuple(named) or (price.tiers,)), _product(factors)


def reachable(price: Price, uplifts: tuple[str, ...]) -> tuple[Tiers, Decimal]:
    """The same for a bound: the dearest of the default and of all that these names may mean, none of them for sure."""
    tiers, _ = terms(price, uplifts)
    factors = price.uplifts if unpriced(price, uplifts) else uplifts
    reached = [max(price.uplifts.get(name, _ONE), _ONE) for name in factors]
    return _dearest((price.tiers, tiers)) if tiers is not price.tiers else tiers, _product(reached)


def sells(rows: tuple[Price, ...], service: str) -> bool:
    """Whether some row has a price for a service tier."""
    return any(service in row.services or service in row.uplifts for row in rows)


def prices_long_caches(rows: tuple[Price, ...]) -> bool:
    """Whether every row has a price of its own for what is written to a cache that lives long."""
    return all(tier.cache_write_long is not None for row in rows for tier in row.tiers)


def _product(factors: list[Decimal]) -> Decimal:
    product = _ONE
    for factor in factors:
        product = EXACT.multiply(product, factor)
    return product


def _dearest(tables: tuple[Tiers, ...]) -> Tiers:
    if len(tables) == 1:
        return tables[0]
    starts = sorted({tier.above for table in tables for tier in table})
    merged = []
    for start in starts:
        at = [tier_at(table, start + 1) for table in tables]
        prices = {name: max(class_price(tier, name, others) for tier in at) for name, others in CLASSES}
        merged.append(PriceTier(above=start, **prices))
    return tuple(merged)


def tier_at(tiers: Tiers, prompt_tokens: int) -> PriceTier:
    """The tier of a table for a prompt of so many tokens."""
    chosen = tiers[0]
    for tier in tiers:
        if prompt_tokens > tier.above:
            chosen = tier
    return chosen


def charge(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...] = ()) -> int:
    """Nano-dollars for a call's usage at a share of list price: the exact sum over classes, rounded once.

    With rate 1 this is the list price. `uplifts` names the service tier, region and speed that served the call.
    """
    tiers, factor = terms(price, uplifts)
    tier = tier_at(tiers, usage.prompt)
    total = EXACT.multiply(price.request, _USD)
    for name, others in CLASSES:
        tokens: int = getattr(usage, name)
        if tokens:
            per_token = EXACT.multiply(class_price(tier, name, others), NANO_PER_TOKEN)
            total = EXACT.add(total, EXACT.multiply(per_token, Decimal(tokens)))
    return nano(EXACT.multiply(EXACT.multiply(total, rate), factor))


def bill(usage: TokenUsage, price: Price, rate: Decimal, uplifts: tuple[str, ...], hold_nano: int) -> int:
    """Nano-dollars that a caller is billed for a call: its charge, never above its hold; nothing without usage."""
    return 0 if usage == NO_USAGE else min(charge(usage, price, rate, uplifts), hold_nano)


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


class Line(Struct, frozen=True):
    """The bound of any call whose prompt reaches the same tiers, in exact nano-dollars: linear in `prompt_max`."""

    base: Decimal
    per_prompt_token: Decimal
    per_output_token: Decimal

    def bound(self, prompt_max: int) -> Bound:
        """The bound of a prompt of at most so many tokens."""
        fixed = EXACT.add(self.base, EXACT.multiply(self.per_prompt_token, Decimal(prompt_max)))
        return Bound(fixed, self.per_output_token)


def bound(prompt_max: int, price: Price, rate: Decimal, uplifts: tuple[str, ...] = ()) -> Bound:
    """The bound of a call whose prompt has at most so many tokens.

    It takes the dearest input class and the dearest output class of every tier that the prompt can reach, in the
    default table and in those of `uplifts`, the names that the call may be served under: a true upper bound, whatever
    the provider then reports within those limits.
    """
    return line(prompt_max, price, rate, uplifts).bound(prompt_max)


def line(prompt_max: int, price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> Line:
    """The line that `bound` lies on, for prompts that reach the same tiers as one of `prompt_max` tokens."""
    tiers, factor = reachable(price, uplifts)
    reached = [tier for tier in tiers if tier.above == 0 or prompt_max > tier.above]
    share = EXACT.multiply(rate, factor)
    per_token = EXACT.multiply(share, NANO_PER_TOKEN)
    return Line(
        base=EXACT.multiply(EXACT.multiply(price.request, _USD), share),
        per_prompt_token=EXACT.multiply(_dearest_class(reached, _INPUT_CLASSES), per_token),
        per_output_token=EXACT.multiply(_dearest_class(reached, _OUTPUT_CLASSES), per_token),
    )


def _dearest_class(tiers: list[PriceTier], classes: tuple[str, ...]) -> Decimal:
    return max(
        class_price(tier, name, others) for tier in tiers for name, others in CLASSES if name in classes
    )


def check_price(price: Price) -> str | None:
    """Why a price row cannot be used, or None: tiers must start at 0 and ascend, and no price may be negative."""
    amounts = [price.request, *price.uplifts.values()]
    for table in (price.tiers, *price.services.values()):
        thresholds = [tier.above for tier in table]
        if not thresholds or thresholds[0] != 0 or thresholds != sorted(set(thresholds)):
            return "its tiers must start at 0 and ascend"
        for tier in table:
            amounts += [value for value in structs.astuple(tier) if isinstance(value, Decimal)]
    if any(not amount.is_finite() or amount < _ZERO for amount in amounts):
        return "its prices must be finite and not negative"
    if both := sorted(price.services.keys() & price.uplifts.keys()):
        return f"{both[0]!r} has a table of its own and a factor"
    return None
