"""Owns the question whether a ledger answers at all."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Done, Verb


class Ping(Struct, frozen=True, array_like=True):
    """Asks whether a ledger answers; the reply is `Done`."""

    v: int = VERSION


PING: Verb[Ping, Done] = Verb(
    name="ping", form=Ping, reply=Done, roles=(Role.EDGE, Role.WORKER, Role.COMMAND, Role.CONSOLE)
)
