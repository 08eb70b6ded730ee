"""The protocols that callers speak: one module each, in one tuple, under one conformance test."""

from schemas.dialects import chat, completions, embeddings
from schemas.dialects.base import Dialect

DIALECTS: tuple[Dialect, ...] = (chat.DIALECT, completions.DIALECT, embeddings.DIALECT)
NAMED = {dialect.name: dialect for dialect in DIALECTS}
