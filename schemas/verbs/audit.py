"""Owns how the proof of the books is asked for."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class AuditQuery(Struct, frozen=True, array_like=True):
    """Asks for a proof of the books."""

    v: int = VERSION


AUDIT: Verb[AuditQuery, Rows] = Verb(name="audit", form=AuditQuery, reply=Rows, roles=(Role.COMMAND,))
