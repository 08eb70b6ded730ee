"""The protocols that callers speak: one module each, in one tuple, under one conformance test."""

from schemas.dialects import chat, completions, embeddings, responses
from schemas.dialects.base import Dialect, Envelope
from schemas.dialects.messages import dialect as messages

DIALECTS: tuple[Dialect, ...] = (
    chat.DIALECT,
    completions.DIALECT,
    responses.DIALECT,
    messages.DIALECT,
    embeddings.DIALECT,
)
NAMED = {dialect.name: dialect for dialect in DIALECTS}


def envelope_at(path: str) -> Envelope:
    """What is around the answers of a path, whether or not there is a route: OpenAI's, but under another's path."""
    for dialect in DIALECTS:
        if path == dialect.path or path.startswith(dialect.path + "/"):
            return dialect
    return chat.DIALECT
