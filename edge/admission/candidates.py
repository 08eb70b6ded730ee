"""Owns which models may serve a call: those that its names stand for, without those that cannot take it."""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct, structs

from edge.admission.catalogue import Catalogue
from edge.admission.pages import PageCounter
from edge.calls.relay import Relay
from runtime.catalogue.shelf import Headers, Place, Shelf
from schemas.asked import CAPS_ONLY, NOTHING_SEEN, Ask, Bound, Document, Fields, Seen
from schemas.catalogue.aliases import CANDIDATES_MAX
from schemas.catalogue.model import Model
from schemas.catalogue.unrouted import not_routed
from schemas.chat.priced import RequestError
from schemas.dialects.base import Dialect
from schemas.errors import invalid, model_not_found


class Asked(Struct, frozen=True):
    """What a caller sent: `body` is the encoded one. `verify` raises RequestError unless the caller's key lives.

    `read` runs what looks at all of a body, beside the loop where that takes long.
    """

    dialect: Dialect
    ask: Ask
    fields: Fields
    body: bytes
    verify: Callable[[], Awaitable[None]]
    read: Callable[[Callable[[], Bound]], Awaitable[Bound]]


class Candidate(Struct, frozen=True):
    """A model that can take a body, and what the call can cost with it."""

    model: Model
    bound: Bound
    notice: Headers = ()  # of an answer
    list_limit: int = (
        0  # what a list of its provider's says is its output limit, 0 where that is not below its row's
    )


class _Pages:
    """The pages of one body's documents: each is counted once, whichever of its models want to know."""

    def __init__(self, counter: PageCounter, verify: Callable[[], Awaitable[None]]) -> None:
        self._counter = counter
        self._verify = verify
        self._seen: set[str] = set()
        self._found: dict[str, int] = {}

    async def of(self, documents: tuple[Document, ...]) -> dict[str, int]:
        """The pages of each document that could be counted, by its `param`. Raises RequestError for a dead key."""
        fresh = tuple(document for document in documents if document.param not in self._seen)
        if fresh:
            await self._verify()  # before work that is worth something
            self._seen.update(document.param for document in fresh)
            self._found.update(await self._counter.count(fresh))
        return self._found


class Choice:
    """Finds the candidates of a call."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf, relay: Relay, pages: PageCounter) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._relay = relay
        self._pages = pages

    async def of(self, asked: Asked) -> tuple[Candidate, ...]:
        """The models that may serve a call, in the order of trying.

        Raises RequestError if there is none: what the first of them refuses.
        """
        names = await self._catalogue.expand(asked.ask.candidates)
        pages = _Pages(self._pages, asked.verify)
        if len(names) == 1:
            return (await self._able(names[0], asked, pages),)
        if len(names) > CANDIDATES_MAX:
            message = f"'models' stands for {len(names)} models; at most {CANDIDATES_MAX} are tried."
            raise RequestError(invalid(message, param="models", code="invalid_value"))
        found: list[Candidate] = []
        first: RequestError | None = None
        for name in names:
            try:
                found.append(await self._able(name, asked, pages))
            except RequestError as refused:
                first = first or refused
        if first is not None and not found:
            raise first
        # Where none is served the first is waited for, as if it stood alone.
        return tuple(filter(self._served, found)) or (found[0],)

    async def _able(self, name: str, asked: Asked, pages: _Pages) -> Candidate:
        place = await self._place(name)
        model = place.model
        seen = self._seen(model)
        bound = await asked.read(partial(_checked, asked, model, seen))
        if bound.documents:
            seen = structs.replace(seen, pages=await pages.of(bound.documents))
            bound = await asked.read(partial(asked.dialect.bound, asked.fields, asked.ask, model, seen))
        return Candidate(model, bound, place.notice, place.list_limit)

    async def _place(self, name: str) -> Place:
        model = await self._catalogue.find(name)
        if model is None:
            elsewhere = self._catalogue.unrouted(name)
            raise RequestError(model_not_found(name) if elsewhere is None else not_routed(elsewhere))
        return self._shelf.open(model)

    def _seen(self, model: Model) -> Seen:
        return CAPS_ONLY if self._relay.overruns.has(model.pool, model.upstream) else NOTHING_SEEN

    def _served(self, candidate: Candidate) -> bool:
        model = candidate.model
        return self._relay.serves(model.pool, model.id) and not self._relay.deserted(model.pool)


def _checked(asked: Asked, model: Model, seen: Seen) -> Bound:
    """The bound of a body for a model that can honour it. Raises RequestError 400."""
    bound = asked.dialect.bound(asked.fields, asked.ask, model, seen)
    if (error := asked.dialect.refuse(model, asked.body)) is not None:
        raise RequestError(error)
    return bound
