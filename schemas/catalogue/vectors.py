"""Owns how each embeddings model makes vectors, by its upstream id: sizes, batches, and what callers may say of them."""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from schemas.catalogue.beginnings import longest

_Positive = Annotated[int, Meta(ge=1)]


class Vectors(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model embeds. Without `least` and `sizes` all of its vectors are of one size."""

    dimensions: _Positive  # of a vector, unless others are asked for; none has more
    least: int = 0  # any number of dimensions from here on may be asked for; 0: only one of `sizes`
    sizes: tuple[int, ...] = ()
    batch: _Positive = 2_048  # inputs in one call of the provider
    tokens: bool = False  # takes arrays of token ids
    hint: Literal["", "input_type", "task_type"] = (
        ""  # the field in which callers may say what the vectors are for
    )
    hints: tuple[str, ...] = ()  # and what it may say; none named: anything

    @property
    def sizable(self) -> bool:
        """Whether the provider is told how many dimensions are wanted."""
        return bool(self.least or self.sizes)

    def makes(self, dimensions: int) -> bool:
        """Whether vectors of so many dimensions can be had."""
        in_range = 0 < self.least <= dimensions <= self.dimensions
        return dimensions == self.dimensions or dimensions in self.sizes or in_range


COHERE_HINT: Final = "input_type"
GEMINI_HINT: Final = "task_type"
_COHERE_HINTS: Final = ("search_document", "search_query", "classification", "clustering")
_GEMINI_HINTS: Final = (
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)
_GEMINI: Final = Vectors(dimensions=3_072, least=128, batch=100)
_TITAN_1: Final = Vectors(dimensions=1_536, batch=1)
_COHERE_3: Final = Vectors(dimensions=1_024, batch=96, hint=COHERE_HINT, hints=_COHERE_HINTS)
_COHERE_4: Final = structs.replace(_COHERE_3, dimensions=1_536, sizes=(256, 512, 1_024, 1_536))
_COHERE_OWN: Final = Vectors(dimensions=1_024, batch=96)  # by Cohere's route for OpenAI's clients

# By the longest beginning that fits: ids end in versions.
_ROWS: Final = {
    "text-embedding-3-small": Vectors(dimensions=1_536, least=1, tokens=True),
    "text-embedding-3-large": Vectors(dimensions=3_072, least=1, tokens=True),
    "text-embedding-ada-002": Vectors(dimensions=1_536, tokens=True),
    "gemini-embedding-001": structs.replace(_GEMINI, hint=GEMINI_HINT, hints=_GEMINI_HINTS),
    "gemini-embedding-2": _GEMINI,
    "amazon.titan-embed-text-v1": _TITAN_1,
    "amazon.titan-embed-g1-text": _TITAN_1,
    "amazon.titan-embed-text-v2": Vectors(dimensions=1_024, sizes=(256, 512, 1_024), batch=1),
    "cohere.embed-english-v3": _COHERE_3,
    "cohere.embed-multilingual-v3": _COHERE_3,
    "cohere.embed-v4": _COHERE_4,
    "embed-english-v3": _COHERE_OWN,
    "embed-multilingual-v3": _COHERE_OWN,
    "embed-english-light-v3": structs.replace(_COHERE_OWN, dimensions=384),
    "embed-multilingual-light-v3": structs.replace(_COHERE_OWN, dimensions=384),
    "embed-v4": structs.replace(_COHERE_OWN, dimensions=1_536),
    "mistral-embed": Vectors(dimensions=1_024),
    "codestral-embed": Vectors(dimensions=1_536),
    "qwen3-embedding-8b": Vectors(dimensions=4_096, least=32),
    "qwen3-embedding-4b": Vectors(dimensions=2_560, least=32),
    "qwen3-embedding-0.6b": Vectors(dimensions=1_024, least=32),
    "bge-small-en": Vectors(dimensions=384),
    "bge-base-en": Vectors(dimensions=768),
    "bge-large-en": Vectors(dimensions=1_024),
    "bge-m3": Vectors(dimensions=1_024),
    "nomic-embed-text": Vectors(dimensions=768),
    "mxbai-embed-large": Vectors(dimensions=1_024),
}
# What a tokenizer puts around a text, and a provider before it, to say what its vector is for.
OVERHEAD_TOKENS: Final = 16
_REGION: Final = re.compile(r"^[a-z-]+\.(?=amazon\.|cohere\.)")


def vectors_of(upstream: str) -> Vectors | None:
    """How a model embeds, whoever serves it; None for one that embeds nothing, or in a way that nobody here knows."""
    name = _REGION.sub("", upstream.rpartition("/")[2].lower())
    return _ROWS.get(longest(_ROWS, name))
