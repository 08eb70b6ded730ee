"""Owns which model stands in for one that has ended: one that lives, and that this gateway serves now."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from schemas.catalogue.model import Model
from schemas.catalogue.standing import standing
from schemas.catalogue.views import Rows, Workers
from schemas.money.pricing import price_on

STEPS_MAX: Final = 5  # from one successor to the next
KNOWN_MAX: Final = 1_024  # answers that are remembered while nothing changes
_LINES_MAX: Final = 8_192
_WORD: Final = re.compile(r"(?<![a-z0-9])[a-z]+(?![a-z0-9])")
# What tells releases of one line apart, beside figures.
_RELEASES: Final = frozenset(("exp", "experimental", "latest", "preview", "v"))


class Successors:
    """Finds them, from the catalogue and what workers say that they serve."""

    def __init__(self, catalogue: Rows, workers: Workers) -> None:
        self._catalogue = catalogue
        self._workers = workers
        self._known: dict[str, str | None] = {}
        self._of: tuple[int, int, date] | None = None  # what they are known of

    def of(self, model: Model, day: date) -> str | None:
        """The id to use in a model's place on a day: its successor's, or that one's, or the cheapest of its line."""
        now = self._catalogue.generation, self._workers.generation, day
        if self._of != now or len(self._known) >= KNOWN_MAX:
            self._known, self._of = {}, now
        if model.id not in self._known:
            found = self._named(model, day) or self._cheapest(model, day)
            self._known[model.id] = None if found is None else found.id
        return self._known[model.id]

    def _named(self, model: Model, day: date) -> Model | None:
        step = model
        for _ in range(STEPS_MAX):
            candidates = list(self._called(step))
            for found in candidates:
                if not _is_same(found, model) and self._lives(found, day):
                    return found
            if not candidates:
                return None
            step = candidates[0]
        return None

    def _called(self, model: Model) -> Iterator[Model]:
        """The rows of what a model's row names: under the name that the model itself goes by, before the other."""
        if model.successor:
            names = (model.successor, f"{model.pool}/{model.successor}")
            for name in names if model.id == model.upstream else reversed(names):
                if (found := self._catalogue.known(name)) is not None:
                    yield found

    def _cheapest(self, model: Model, day: date) -> Model | None:
        own = line(model.upstream)
        if not own:
            return None
        same = (
            other
            for other in self._catalogue.models()
            if other.provider == model.provider
            and other.upstream[:1] == model.upstream[:1]
            and other.context >= model.context
            and line(other.upstream) == own
            and _takes(model) <= _takes(other)
            and not _is_same(other, model)
            and self._lives(other, day)
        )
        return min(
            same, key=lambda other: (_price(other, day), other.id != other.upstream, other.id), default=None
        )

    def _lives(self, model: Model, day: date) -> bool:
        fact = self._workers.fact(model.pool, model.upstream)
        return self._workers.serves(model.pool, model.id) and not standing(model, fact, day).retired


@lru_cache(_LINES_MAX)
def line(upstream: str) -> tuple[str, ...]:
    """What an id has in common with its other releases: its words, without figures."""
    return tuple(word for word in _WORD.findall(upstream.lower()) if word not in _RELEASES)


def _is_same(one: Model, other: Model) -> bool:
    """Whether they are one model of one pool, under whatever names: one that is about to end still lives."""
    return one.pool == other.pool and one.upstream == other.upstream


def _takes(model: Model) -> set[str]:
    able = model.capabilities
    kinds = {"images": able.images, "audio": able.audio_in, "files": able.files}
    return {kind for kind, taken in kinds.items() if taken}


def _price(model: Model, day: date) -> Decimal:
    price = price_on(model.prices, day)
    return price.tiers[0].input + price.tiers[0].output if price is not None else Decimal("Infinity")
