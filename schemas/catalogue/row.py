"""Owns one row of the catalogue's file: what is known of a model at one preset, whoever serves it here."""

from datetime import date
from decimal import Decimal

from msgspec import Struct, field

from schemas.money.pricing import Price, PriceTier

MODES = ("chat", "responses", "completions", "embeddings")
TAKES = ("image", "file", "audio", "video")


# As with prices, no collection has to walk the rows.
class RowPrice(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What a model costs from a day on, as `schemas.money.pricing.Price` has it."""

    tiers: tuple[PriceTier, ...]
    effective: date = date(1970, 1, 1)
    services: dict[str, tuple[PriceTier, ...]] = {}
    uplifts: dict[str, Decimal] = {}
    request: Decimal | None = None


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One model of one preset. `id` is what the provider is asked for; exact ids only.

    `context` bounds a prompt in tokens: the largest that any source names, so that no hold is cut short. `max_input` is
    what buyers may count on, 0 where nobody says. Where `max_output` is disputed, the sources differ on it.
    `aliases` are other rows of the preset that are the same model. `sources` says how the price was found: "agree",
    "disagree" (the higher, class by class), "one source", "pinned" by hand, or "kept": no source has the model any more, and this is its last row.
    """

    preset: str
    id: str
    mode: tuple[str, ...]
    context: int
    max_input: int = 0
    max_output: int = 0
    max_output_disputed: bool = False
    takes: tuple[str, ...] = ()
    tools: bool = False
    json_schema: bool = False
    efforts: tuple[str, ...] = ()
    limit_field: str = ""
    prices: tuple[RowPrice, ...]
    aliases: tuple[str, ...] = ()
    created: int = 0  # unix seconds; 0 where nobody says
    shutdown: date | None = None
    successor: str = ""
    sources: str = field(default="agree")

    def priced(self) -> tuple[Price, ...]:
        """Its price rows."""
        return tuple(
            Price(
                id=f"catalogue:{self.preset}:{self.id}:{one.effective}",
                tiers=one.tiers,
                effective=one.effective,
                uplifts=one.uplifts,
                request=one.request or Decimal(0),
                services=one.services,
            )
            for one in self.prices
        )
