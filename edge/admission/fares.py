"""Owns the least that a call can cost here now: who has less can call nothing."""

from datetime import date
from decimal import Decimal

from edge.admission.catalogue import Catalogue
from edge.calls.roster import Roster
from runtime.catalogue.shelf import Shelf
from schemas.catalogue.model import Model
from schemas.money.amounts import EXACT, NANO_PER_TOKEN, nano_up
from schemas.money.pricing import price_on

_ONE = Decimal(1)


class Fares:
    """The prices of the models that are served, as far as the poorest keys go."""

    def __init__(self, catalogue: Catalogue, roster: Roster, shelf: Shelf) -> None:
        self._catalogue = catalogue
        self._roster = roster
        self._shelf = shelf
        self._of: tuple[int, int, date] | None = None  # what the figure is of
        self._least_nano = 0

    def least_nano(self) -> int:
        """Nano-dollars below which no call of a served model can be held; 0 if one is free, or none is served.

        Worked out once until anything changes.
        """
        day = self._shelf.today()
        now = self._catalogue.generation, self._roster.generation, day
        if self._of != now:
            found = [
                _least_nano(model, day) for model in self._catalogue.models() if self._shelf.serves(model)
            ]
            self._least_nano, self._of = min(found, default=0), now
        return self._least_nano


def _least_nano(model: Model, day: date) -> int:
    """One token of a prompt at the lowest price that any row in force has for it."""
    price = price_on(model.prices, day)
    if price is None:
        return 0
    tables = (price.tiers, *price.services.values())
    lowest = min(tier.input for table in tables for tier in table)
    factor = min((*price.uplifts.values(), _ONE))
    per_token = EXACT.multiply(EXACT.multiply(lowest, NANO_PER_TOKEN), EXACT.multiply(model.rate, factor))
    return nano_up(per_token)
