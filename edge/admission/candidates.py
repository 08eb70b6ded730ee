"""Owns which models may serve a call: those that its names stand for, without those that cannot take it."""

from msgspec import Struct

from edge.admission.catalogue import Catalogue
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from schemas.asked import Ask, Bound, Fields
from schemas.catalogue.aliases import CANDIDATES_MAX
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.dialects.base import Dialect
from schemas.errors import invalid, model_not_found


class Candidate(Struct, frozen=True):
    """A model that can take a body, and what the call can cost with it."""

    model: Model
    bound: Bound


class Choice:
    """Finds the candidates of a call."""

    def __init__(self, catalogue: Catalogue, roster: Roster, relay: Relay) -> None:
        self._catalogue = catalogue
        self._roster = roster
        self._relay = relay

    async def of(self, dialect: Dialect, ask: Ask, fields: Fields, body: bytes) -> tuple[Candidate, ...]:
        """The models that may serve a call, in the order of trying; `body` is the encoded one.

        Raises RequestError if there is none: what the first of them refuses.
        """
        names = await self._catalogue.expand(ask.candidates)
        if len(names) == 1:
            return (await self._able(names[0], dialect, ask, fields, body),)
        if len(names) > CANDIDATES_MAX:
            message = f"'models' stands for {len(names)} models; at most {CANDIDATES_MAX} are tried."
            raise RequestError(invalid(message, param="models", code="invalid_value"))
        found: list[Candidate] = []
        first: RequestError | None = None
        for name in names:
            try:
                found.append(await self._able(name, dialect, ask, fields, body))
            except RequestError as refused:
                first = first or refused
        if first is not None and not found:
            raise first
        # Where none is served the first is waited for, as if it stood alone.
        return tuple(filter(self._served, found)) or (found[0],)

    async def _able(self, name: str, dialect: Dialect, ask: Ask, fields: Fields, body: bytes) -> Candidate:
        model = await self._catalogue.find(name)
        if model is None:
            raise RequestError(model_not_found(name))
        if self._roster.gone(model.pool, model.id):
            raise RequestError(model_not_found(name, model.successor))
        bound = dialect.bound(fields, ask, model)
        if (error := dialect.refuse(model, body)) is not None:
            raise RequestError(error)
        return Candidate(model, bound)

    def _served(self, candidate: Candidate) -> bool:
        model = candidate.model
        return self._relay.serves(model.pool, model.id) and not self._relay.deserted(model.pool)
