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
_HEAD: Final = (
    "# Disagreements between sources that were looked at: the higher price is sold. One a line, as the report has it,\n"
    "# under the reason. Where the lower price is known to be right, a pin says so instead."
)


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


def read_accepted(path: Path = ACCEPTED) -> dict[str, str]:
    """The disagreements that somebody has looked at, as the report prints them, each with why its higher price is sold.

    A reason is the comment above its lines. Raises InputError for a line without one.
    """
    found, why, ended = {}, "", False
    for text in path.read_text().splitlines():
        line = text.strip()
        if line.startswith("#"):
            why, ended = f"{'' if ended else why} {line.lstrip('# ')}".strip(), False
        elif line:
            if not why:
                raise InputError(f"{path.name}: {line}: stands under no reason")
            found[line], ended = why, True
        else:
            why = ""
    return found


def write_accepted(accepted: Mapping[str, str], path: Path = ACCEPTED) -> None:
    """The file of what is accepted: by reason, in the order in which reasons first stand."""
    groups: dict[str, list[str]] = {}
    for line, why in accepted.items():
        groups.setdefault(why, []).append(line)
    blocks = [_HEAD, *("\n".join((f"# {why}", *sorted(lines))) for why, lines in groups.items())]
    path.write_text("\n\n".join(blocks) + "\n")


def _dated(row: Mapping[str, Any]) -> Dated:
    tiers = [
        Tier(tier.get("above", 0), {name: Decimal(price) for name, price in tier.items() if name != "above"})
        for tier in row.get("tiers", [{name: price for name, price in row.items() if name != "effective"}])
    ]
    return Dated(row.get("effective", date(1970, 1, 1)), tuple(tiers))
