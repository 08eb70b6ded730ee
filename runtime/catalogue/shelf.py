"""Owns which models can be called on a day: those that are known, have not ended, and whose pool is somebody's."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from urllib.parse import quote

from msgspec import Struct, structs

from runtime.catalogue.unset import pool_unset
from schemas.catalogue.model import Model
from schemas.catalogue.standing import Standing, standing
from schemas.catalogue.successors import Successors
from schemas.catalogue.views import Rows, Workers
from schemas.chat.priced import RequestError
from schemas.errors import WireError, model_not_found, model_retired

Headers = tuple[tuple[bytes, bytes], ...]


def utc_today() -> date:
    """The day that prices and retirements go by."""
    return datetime.now(UTC).date()


class Place(Struct, frozen=True):
    """What a call of a model comes to: the error why it cannot be called, or the model as it can be; and headers of an answer.

    The model's limit is no higher than its provider's list has it, which is then its `list_limit`, in tokens; the headers
    tell of its end.
    """

    model: Model
    error: WireError | None
    notice: Headers = ()
    list_limit: int = 0


class Shelf:
    """The catalogue's models as workers and their accounts' lists have them. `today` is the clock."""

    def __init__(self, catalogue: Rows, workers: Workers, today: Callable[[], date] = utc_today) -> None:
        self._catalogue = catalogue
        self._workers = workers
        self._successors = Successors(catalogue, workers)
        self._places: dict[str, Place] = {}  # by id: never more than the catalogue has
        self._of: tuple[int, int, date] | None = None  # what they are of
        self.today = today

    def ended(self, model: Model) -> bool:
        """Whether a model has ended here."""
        fact = self._workers.fact(model.pool, model.upstream)
        if fact is None and (model.shutdown_date is None or not model.dated):
            return False
        return standing(model, fact, self.today()).retired

    def serves(self, model: Model) -> bool:
        """Whether some worker serves a model that has not ended."""
        return self._workers.serves(model.pool, model.id) and not self.ended(model)

    def open(self, model: Model) -> Place:
        """A model as it can be called now, worked out once until anything changes.

        Raises RequestError 404: it has ended, is not offered to us, or its pool is not configured.
        """
        now = self._catalogue.generation, self._workers.generation, self.today()
        if self._of != now:
            self._places, self._of = {}, now
        place = self._places.get(model.id)
        if place is None:
            place = self._places[model.id] = self._find(model, now[2])
        if place.error is not None:
            raise RequestError(place.error)
        return place

    def successor(self, model: Model) -> str | None:
        """The id to use in its place, which is served here."""
        return self._successors.of(model, self.today())

    def _find(self, model: Model, day: date) -> Place:
        fact = self._workers.fact(model.pool, model.upstream)
        stands = standing(model, fact, day)
        if stands.retired:
            on = stands.ends if stands.ends is not None and stands.ends <= day else None
            return Place(model, model_retired(model.id, on, self.successor(model)))
        if self._workers.gone(model.pool, model.id):
            return Place(model, model_not_found(model.id, self._in_place_of(model)))
        if self._workers.unset(model.pool):
            return Place(model, pool_unset(model))
        limit = fact.max_output if fact is not None and not model.pinned else 0
        if 0 < limit < model.max_output:
            model = structs.replace(model, max_output=limit)
        return Place(model, None, self._notice(model, stands) if stands.deprecated else (), limit)

    def _in_place_of(self, model: Model) -> str | None:
        """What is named for a model that is gone without a word of its end: nothing, if it is only not ours to call."""
        if model.pinned or not model.successor:
            return model.successor
        return self.successor(model)

    def _notice(self, model: Model, stands: Standing) -> Headers:
        told = []
        if stands.ends is not None:
            told.append((b"x-tokn-model-shutdown", stands.ends.isoformat().encode()))
        if (successor := self.successor(model)) is not None:
            told.append((b"x-tokn-model-successor", quote(successor, safe="/:@").encode()))
        return tuple(told)
