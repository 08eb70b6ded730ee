"""Owns aliases: names of an operator's own that stand for models, in the order in which those are tried."""

from msgspec import Struct

CANDIDATES_MAX = 8  # models that one call may try, whatever its names stand for


class Alias(Struct, frozen=True, array_like=True):
    """One alias. `models` are ids of rows, no alias among them and none twice, the one wanted most first."""

    id: str
    models: tuple[str, ...]
