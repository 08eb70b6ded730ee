"""Owns models as they stand at one moment: the catalogue, and what live workers say of it, with an edge's own rules."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from ledger.prices.offers import Catalogue
from runtime.catalogue.age import as_of
from runtime.catalogue.models import CATALOGUE_PRICE, sources
from runtime.catalogue.shelf import Shelf
from schemas.bus.frames import Beat, ModelFact, joined
from schemas.catalogue.model import Lifecycle, Model
from schemas.catalogue.shown import pricing
from schemas.catalogue.standing import Standing, standing
from schemas.money.pricing import price_on
from schemas.verbs.models import State

SERVED = (State.ACTIVE, State.DEPRECATED)


class Picture:
    """What the workers of all pools say. `configured` are the pools of the settings."""

    def __init__(self, beats: Mapping[str, Sequence[Beat]], configured: Collection[str]) -> None:
        self.generation = 0  # it never changes
        self.beats = beats
        self._configured = configured
        self._served = {pool: {name for beat in some for name in beat.models} for pool, some in beats.items()}
        self._gone = {pool: {name for beat in some for name in beat.gone} for pool, some in beats.items()}
        self._unlisted = {
            pool: {name for beat in some for name in beat.unlisted} for pool, some in beats.items()
        }
        self._facts = {
            pool: joined(fact for beat in some for fact in beat.facts) for pool, some in beats.items()
        }
        self.unpriced: dict[str, list[str]] = {}  # pools by what their accounts list and nobody can price
        for pool in sorted(beats):
            for name in sorted({name for beat in beats[pool] for name in beat.unpriced}):
                self.unpriced.setdefault(name, []).append(pool)

    def serves(self, pool: str, model: str) -> bool:
        """Whether some worker of a pool says that it can serve a model now."""
        return model in self._served.get(pool, ())

    def gone(self, pool: str, model: str) -> bool:
        """Whether a provider no longer has a model, or no account lists it, and nobody serves it all the same."""
        return model in self._gone.get(pool, ()) and not self.serves(pool, model)

    def fact(self, pool: str, upstream: str) -> ModelFact | None:
        """What the lists of a pool's accounts say of an upstream model beyond its row, if anything."""
        return self._facts.get(pool, {}).get(upstream)

    def unset(self, pool: str) -> bool:
        """Whether a pool is nobody's: not configured, and no worker speaks of it."""
        return pool not in self._configured and pool not in self.beats

    def unlisted(self, pool: str, model: str) -> bool:
        """Whether a model is served though no list has it."""
        return model in self._unlisted.get(pool, ())

    def provider(self, pool: str) -> str:
        """What the workers of a pool that has some say of its provider."""
        return self.beats[pool][0].provider

    def missing(self, pool: str, model: str) -> str:
        """Why the workers of a pool do not serve a model, in the words of one of them; "" if none has any."""
        told = (beat.missing.get(model, "") for beat in self.beats.get(pool, ()))
        return next((why for why in told if why), "")


class _Rows:
    """The catalogue's rows, as an edge has them."""

    def __init__(self, sold: Catalogue) -> None:
        self.generation = 0
        self._sold = sold

    def known(self, name: str) -> Model | None:
        """A model's row, if there is one."""
        return self._sold.models.get(name)

    def models(self) -> Sequence[Model]:
        """Every model, by id."""
        return self._sold.sorted


class View:
    """The models on a day."""

    def __init__(self, sold: Catalogue, picture: Picture, day: date) -> None:
        self.sold = sold
        self.picture = picture
        self.day = day
        self.shelf = Shelf(_Rows(sold), picture, lambda: day)
        self._as_of = as_of().isoformat()
        self._pools: dict[str, list[str]] = {}
        for model in sold.sorted:
            pools = self._pools.setdefault(model.upstream, [])
            if model.pool not in pools:
                pools.append(model.pool)

    def elsewhere(self, model: Model) -> list[str]:
        """The names under which other pools serve a model now that goes by its bare id."""
        names = (f"{pool}/{model.upstream}" for pool in self.pools(model)[1:])
        found = (self.sold.models.get(name) for name in names)
        return [one.id for one in found if one is not None and self.can_be_called(one)]

    def stands(self, model: Model) -> Standing:
        """Where a model stands with its provider."""
        return standing(model, self.picture.fact(model.pool, model.upstream), self.day)

    def bare(self, model: Model) -> Model | None:
        """The row that has a model's bare id, where the model itself goes by its pool's name."""
        if model.id != f"{model.pool}/{model.upstream}":
            return None
        found = self.sold.models.get(model.upstream)
        return found if found is not None and found.upstream == model.upstream else None

    def pools(self, model: Model) -> list[str]:
        """The pools that have a model: its own first, and beside it others where it goes by its bare id."""
        others = self._pools.get(model.upstream, ()) if model.id == model.upstream else ()
        return [model.pool, *(pool for pool in others if pool != model.pool)]

    def state(self, model: Model) -> State:
        """What a call of a model comes to now."""
        picture, pool, stands = self.picture, model.pool, self.stands(model)
        if stands.retired:
            return State.RETIRED
        if picture.gone(pool, model.id):
            return State.UNLISTED
        if picture.unset(pool):
            return State.NO_POOL
        if price_on(model.prices, self.day) is None:
            return State.UNPRICED
        if not picture.serves(pool, model.id):
            return State.NO_ACCOUNT if picture.missing(pool, model.id) else State.NO_WORKER
        if picture.unlisted(pool, model.id):
            return State.UNLISTED
        ends = stands.deprecated or stands.lifecycle is not Lifecycle.ACTIVE
        return State.DEPRECATED if ends else State.ACTIVE

    def can_be_called(self, model: Model) -> bool:
        """Whether a worker serves it, at a price: also a row of the operator's own that no list has."""
        state = self.state(model)
        own = state is State.UNLISTED and self.picture.serves(model.pool, model.id)
        return own or state in SERVED

    def max_output(self, model: Model) -> int:
        """The most tokens of an answer: its provider's list may have a lower limit than its row."""
        fact = self.picture.fact(model.pool, model.upstream)
        lower = fact.max_output if fact is not None and not model.pinned else 0
        return min(lower or model.max_output, model.max_output)

    def row(self, model: Model) -> dict[str, Any]:
        """A model as `tokn models --json` has it."""
        stands = self.stands(model)
        price = price_on(model.prices, self.day)
        ends = stands.shutdown is not None or stands.retired or stands.deprecated
        from_rows = price is not None and price.id.startswith(CATALOGUE_PRICE)
        return {
            "id": model.id,
            "provider": model.provider,
            "pool": model.pool,
            "pools": self.pools(model),
            "upstream": model.upstream,
            "state": self.state(model).value,
            "callable": self.can_be_called(model),
            "context_window": model.context,
            "max_output_tokens": self.max_output(model),
            "shutdown_date": stands.shutdown.isoformat() if stands.shutdown else None,
            "successor": self.shelf.successor(model) if ends else None,
            "pricing": None if price is None else pricing(price, model.rate),
            "sources": None if price is None else sources(price.id),
            "as_of": self._as_of if from_rows else None,
        }
