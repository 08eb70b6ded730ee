"""Owns what is kept by hand: pinned prices, factors, added models and drops, each with reason, address and date."""

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tools.catalogue.inputs import DATA, InputError
from tools.catalogue.tables import Tier
from tools.catalogue.voice import Dated

PINS: Final = DATA / "pins.toml"
ACCEPTED: Final = DATA / "accepted.txt"
_WORDS: Final = ("why", "source", "read")


class Factor(Struct, frozen=True):
    """A factor on litellm's figures, for the models that a pattern names."""

    id: str
    factor: Decimal


class Pins(Struct, frozen=True):
    """All of them. `pinned` and `added` are by `preset/id`."""

    pinned: Mapping[str, Mapping[str, Any]]
    added: Mapping[str, Mapping[str, Any]]
    factors: tuple[Factor, ...]
    drops: tuple[str, ...]
    reads: Mapping[str, date]  # when each was read

    def prices(self, model: str) -> list[Dated]:
        """The rows that are pinned for a model, by their days; none if it is not."""
        entry = self.pinned.get(model) or self.added.get(model)
        return (
            sorted((_dated(row) for row in entry["prices"]), key=lambda row: row.effective) if entry else []
        )

    def drops_model(self, model: str) -> bool:
        """Whether a model is left out by hand."""
        return any(re.fullmatch(pattern, model) for pattern in self.drops)


def read_pins(path: Path = PINS) -> Pins:
    """The file. Raises InputError for an entry without a reason, an address or a date."""
    try:
        root = tomllib.loads(path.read_text(), parse_float=Decimal)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from None
    entries = [
        *((name, one) for kind in ("pin", "add") for name, one in root.get(kind, {}).items()),
        *((one.get("id", "?"), one) for kind in ("factor", "drop") for one in root.get(kind, ())),
    ]
    for name, one in entries:
        for word in _WORDS:
            if not one.get(word):
                raise InputError(f"{path.name}: {name}: {word} is needed")
    return Pins(
        pinned=root.get("pin", {}),
        added=root.get("add", {}),
        factors=tuple(Factor(one["id"], Decimal(one["factor"])) for one in root.get("factor", ())),
        drops=tuple(one["id"] for one in root.get("drop", ())),
        reads={name: one["read"] for name, one in entries},
    )


def read_accepted(path: Path = ACCEPTED) -> frozenset[str]:
    """The disagreements that somebody has looked at, one a line as the report prints them."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def write_accepted(lines: list[str], path: Path = ACCEPTED) -> None:
    """Accepts disagreements."""
    head = "# Disagreements between sources that are accepted: the higher price is sold. One a line, as the report has it.\n"
    path.write_text(head + "".join(f"{line}\n" for line in sorted(lines)))


def _dated(row: Mapping[str, Any]) -> Dated:
    tiers = [
        Tier(tier.get("above", 0), {name: Decimal(price) for name, price in tier.items() if name != "above"})
        for tier in row.get("tiers", [{name: price for name, price in row.items() if name != "effective"}])
    ]
    return Dated(row.get("effective", date(1970, 1, 1)), tuple(tiers))
