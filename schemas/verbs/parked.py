"""Owns how events that could not be applied are asked for, applied again, and dismissed."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class ParkedQuery(Struct, frozen=True, array_like=True):
    """Asks for parked events, the newest first; with a `request_id` for that call's."""

    v: int = VERSION
    request_id: str = ""
    limit: int = 100


class ParkedRef(Struct, frozen=True, array_like=True):
    """Names one parked event."""

    v: int
    request_id: str
    attempt: int
    reason: str = ""


PARKED: Verb[ParkedQuery, Rows] = Verb(name="parked", form=ParkedQuery, reply=Rows, roles=(Role.COMMAND,))
