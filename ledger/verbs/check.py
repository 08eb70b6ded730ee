"""Owns what one check of the proof is."""

from msgspec import Struct


class Check(Struct, frozen=True):
    """A query that returns (request id, detail) for each thing that breaks an invariant."""

    invariant: str
    sql: str
