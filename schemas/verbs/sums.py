"""Owns what is asked about sums of usage: by time, key, model, provider, pool and organisation. Amounts are nano-dollars."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb

PERIODS = ("hour", "day", "month")  # UTC
ROWS_MAX = 600  # of a page, so that it fits one message of the bus
PARTS = ("organization", "key", "model", "provider", "pool")


class SumsQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of sums, in the order of `by`, which names at most one of PERIODS and any of PARTS.

    The time is from the hour of `since_s` up to that of `until_s`, unix seconds; 0 is for no bound. `after` is the
    cursor of the last page. What is by key is in the order of the period, the key, and then the rest of `by`; a page of
    it may have fewer than `limit` rows and still a cursor. With `largest` sums by key alone begin with what was billed
    most, where that can be told at once; else their cursor is a text, and with `or_none` there are no rows. With `rest` the
    answer has what its rows leave out. `figures` are those that are wanted of sums that are not by key; none is for all.
    """

    v: int
    by: tuple[str, ...] = ()
    since_s: int = 0
    until_s: int = 0
    key_id: str = ""
    organization: str = ""
    model: str = ""
    after: int | str = 0
    limit: int = 100
    largest: bool = False
    rest: bool = False
    or_none: bool = False
    figures: tuple[str, ...] = ()


SUMS: Verb[SumsQuery, Rows] = Verb(name="sums", form=SumsQuery, reply=Rows, roles=(Role.COMMAND,))
