"""Owns the dialect of /v1/embeddings: OpenAI's envelope around vectors, which are never streamed."""

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.model import Model
from schemas.dialects.openai import OpenAI
from schemas.embeddings import priced
from schemas.embeddings.request import EMBEDDINGS
from schemas.errors import WireError


class Embeddings(OpenAI):
    """Like OpenAI's other routes but for what a body may hold. What a model cannot honour, its bound refuses."""

    sse = False

    def read(self, fields: Fields) -> Ask:
        """What is asked for. Raises RequestError 400."""
        return priced.read(fields)

    def bound(self, fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
        """What the call can cost. Raises RequestError 400, also for an answer that would be too large."""
        del ask, seen
        return priced.bound(fields, model)

    def refuse(self, model: Model, body: bytes) -> WireError | None:
        """Nothing: the bound has seen all of a body."""
        del model, body
        return None


DIALECT = Embeddings(EMBEDDINGS, "/v1/embeddings")
