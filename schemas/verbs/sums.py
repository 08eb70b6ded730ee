"""Owns what is asked about sums of usage: by time, key, model, provider, pool and organisation. Amounts are nano-dollars."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb

PERIODS = ("hour", "day", "month")  # UTC
PARTS = ("organization", "key", "model", "provider", "pool")


class SumsQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of sums, in the order of `by`, which names at most one of PERIODS and any of PARTS.

    The time is from the hour of `since_s` up to that of `until_s`, unix seconds; 0 is for no bound. `after` is the
    cursor of the last page.
    """

    v: int
    by: tuple[str, ...] = ()
    since_s: int = 0
    until_s: int = 0
    key_id: str = ""
    organization: str = ""
    model: str = ""
    after: int = 0
    limit: int = 100


SUMS: Verb[SumsQuery, Rows] = Verb(name="sums", form=SumsQuery, reply=Rows, roles=(Role.COMMAND,))
