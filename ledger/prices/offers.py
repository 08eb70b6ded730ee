"""Owns the models a ledger sells: price rows by reference, the row in force on a day, and bounds that are quick."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property

import msgspec
from msgspec import Struct

from ledger.prices.charge import Meter
from ledger.prices.reach import Surprises, reach
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Model
from schemas.catalogue.unrouted import Unrouted
from schemas.money.pricing import Bound, Line, Price, TokenUsage, line, price_on, reachable

_encode_price = msgspec.json.Encoder(decimal_format="string", order="deterministic").encode
_encode_sold = msgspec.msgpack.Encoder(decimal_format="string", order="deterministic").encode
_decode_price = msgspec.json.Decoder(Price).decode
_DAY_MS = 86_400_000
_METERS_MAX = 1_024
_LIST = Decimal(1)


class Offer(Struct, frozen=True):
    """A model on a day: its price row in force, and the reference that holds pin."""

    model: Model
    ref: str
    price: Price


def price_ref(price: Price) -> str:
    """The reference of a price row: its id and a hash of its content, so a changed row is another row."""
    return f"{price.id}@{hashlib.sha256(_encode_price(price)).hexdigest()[:12]}"


def encode_price(price: Price) -> str:
    """A price row as JSON."""
    return _encode_price(price).decode()


def day_of(unix_ms: int) -> date:
    """The UTC day that prices go by."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).date()


class Catalogue:
    """All models, and every price row that holds refer to. Prices of the models must have been checked.

    `regions` are those of each pool's accounts. `surprises` are read from the books.
    """

    def __init__(
        self,
        models: tuple[Model, ...],
        regions: Mapping[str, tuple[str, ...]] | None = None,
        aliases: tuple[Alias, ...] = (),
        unrouted: tuple[Unrouted, ...] = (),
    ) -> None:
        self.surprises = Surprises()
        self._regions = regions or {}
        self.models = {model.id: model for model in models}
        self.aliases = aliases
        self.unrouted = unrouted
        self.prices = {price_ref(price): price for model in models for price in model.prices}
        self._offers: dict[str, Offer | None] = {}
        self._offers_day: int | None = None
        self._lines: dict[tuple[str, Decimal, tuple[str, ...]], tuple[tuple[int, Line], ...]] = {}
        self._meters: dict[tuple[str, Decimal, tuple[str, ...]], Meter] = {}

    def offer(self, model_id: str, now_ms: int) -> Offer | None:
        """What a model costs now; None if there is no such model, or none yet."""
        day = now_ms // _DAY_MS
        if day != self._offers_day:
            self._offers, self._offers_day = {}, day
        try:
            return self._offers[model_id]
        except KeyError:
            pass
        model = self.models.get(model_id)
        if model is None:
            return None  # not kept: callers may write anything
        price = price_on(model.prices, day_of(now_ms))
        found = None if price is None else Offer(model, price_ref(price), price)
        self._offers[model_id] = found
        return found

    def upstream_price(self, provider: str, upstream: str, now_ms: int) -> Price | None:
        """The list price of an upstream model, whatever callers call it."""
        for model in self.models.values():
            if model.upstream == upstream and model.provider == provider:
                return price_on(model.prices, day_of(now_ms))
        return None

    @cached_property
    def sorted(self) -> tuple[Model, ...]:
        """All models by id."""
        return tuple(self.models[name] for name in sorted(self.models))

    @cached_property
    def version(self) -> str:
        """Another for any other models, prices, rates, aliases or routes; the same on every ledger with the same."""
        return hashlib.sha256(_encode_sold((self.sorted, self.aliases, self.unrouted))).hexdigest()[:32]

    def reach(self, offer: Offer, asked: tuple[str, ...]) -> tuple[str, ...]:
        """The service tiers, regions and speeds that a call may be served under, beside the default."""
        model = offer.model
        names = reach(model, offer.price, asked, self._regions)
        met = self.surprises.names(model.pool, model.upstream)
        return tuple(dict.fromkeys(names + met)) if names or met else ()

    def bound(
        self, ref: str, price: Price, rate: Decimal, prompt_max: int, uplifts: tuple[str, ...] = ()
    ) -> Bound:
        """`schemas.money.pricing.bound`, with what does not depend on the call computed once."""
        key = (ref, rate, uplifts)
        lines = self._lines.get(key)
        if lines is None:
            if len(self._lines) >= _METERS_MAX:  # uplifts come from outside
                self._lines.clear()
            lines = self._lines[key] = _lines(price, rate, uplifts)
        for above, one in lines:
            if prompt_max > above:
                return one.bound(prompt_max)
        return lines[-1][1].bound(prompt_max)

    def charges(
        self, ref: str, usage: TokenUsage, rate: Decimal, uplifts: tuple[str, ...]
    ) -> tuple[int, int]:
        """`schemas.money.pricing.charge` of one usage at a rate and at list price: (charge, list), in nano-dollars."""
        key = (ref, rate, uplifts)
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= _METERS_MAX:  # uplifts come from outside
                self._meters.clear()
            meter = self._meters[key] = Meter(self.prices[ref], rate, uplifts)
        return meter.charges(usage)

    def list_bound(self, ref: str, price: Price, prompt_max: int, uplifts: tuple[str, ...] = ()) -> Bound:
        """The same bound at list price."""
        return self.bound(ref, price, _LIST, prompt_max, uplifts)

    def learn(self, rows: list[tuple[str, str]]) -> None:
        """Adds price rows from the books: (reference, JSON)."""
        for ref, body in rows:
            self.prices[ref] = _decode_price(body)


def _lines(price: Price, rate: Decimal, uplifts: tuple[str, ...]) -> tuple[tuple[int, Line], ...]:
    """The lines of a bound, each with the prompt that it begins above, the longest prompts first."""
    tiers, _ = reachable(price, uplifts)
    starts = sorted((tier.above for tier in tiers), reverse=True)
    return tuple((start, line(start + 1, price, rate, uplifts)) for start in starts)
