"""Owns what is asked about rate limits."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb


class LimitsSet(Struct, frozen=True, array_like=True):
    """Sets limits of a key, or of all keys of a profile together. Exactly one of the two is set.

    Calls a minute, tokens a minute, calls in flight: 0 clears one, None leaves it as it is.
    """

    v: int
    key_id: str = ""
    profile: str = ""
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None


LIMITS_SET: Verb[LimitsSet, Rows] = Verb(
    name="limits_set", form=LimitsSet, reply=Rows, roles=(Role.COMMAND,), writes=True
)
