"""Owns how surprises are asked for and forgotten: tiers and regions that accounts served under beyond what holds reckoned with."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class SurprisesQuery(Struct, frozen=True, array_like=True):
    """Asks for every surprise, the first that was met first."""

    v: int = VERSION


class SurprisesForget(Struct, frozen=True, array_like=True):
    """Forgets those of a pool, or of one of its accounts: later holds reckon with the default again."""

    v: int
    pool: str
    account: str = ""


SURPRISES: Verb[SurprisesQuery, Rows] = Verb(
    name="surprises", form=SurprisesQuery, reply=Rows, roles=(Role.COMMAND,)
)
SURPRISES_FORGET: Verb[SurprisesForget, Rows] = Verb(
    name="surprises_forget", form=SurprisesForget, reply=Rows, roles=(Role.COMMAND,), writes=True
)
