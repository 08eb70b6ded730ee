"""Owns the rows of roll-ups, and what they sum."""

from typing import ClassVar

from ledger.rules.rows import TOKEN_COLUMNS, Row

# What roll-ups sum: each column with what it takes of a usage row `u`. Only a bill counts as a call, and has its tokens.
_BILL = "CASE WHEN u.slot = 0 THEN {} ELSE 0 END"
SUMS = {
    "calls": _BILL.format(1),
    "failed": "CASE WHEN u.slot = 0 AND u.outcome IN ('failed', 'expired') THEN 1 ELSE 0 END",
    "cancelled": "CASE WHEN u.slot = 0 AND u.outcome = 'cancelled' THEN 1 ELSE 0 END",
    **{f"{column}_tokens": _BILL.format(f"u.{column}") for column in TOKEN_COLUMNS.values()},
    "list_nano": _BILL.format("u.list_nano"),
    "billed_nano": "u.billed_nano",
    "refunded_nano": "u.refunded_nano",
    "uncollected_nano": "u.uncollected_nano",
    "cost_nano": "u.cost_nano",
}


class UsageHour(Row, kw_only=True):
    """What a key used of one model in one hour (since 1970), as its calls were booked; sums of usage rows."""

    TABLE: ClassVar[str] = "usage_hours"
    KEY: ClassVar[tuple[str, ...]] = ("hour", "key_id", "model", "pool", "provider", "organization")

    hour: int
    key_id: str
    model: str
    pool: str
    provider: str
    organization: str


class UsageDay(Row, kw_only=True):
    """The same of one day (since 1970, UTC), without the pool."""

    TABLE: ClassVar[str] = "usage_days"
    KEY: ClassVar[tuple[str, ...]] = ("key_id", "day", "model", "provider", "organization")

    key_id: str
    day: int
    model: str
    provider: str
    organization: str


class UsageTotal(Row, kw_only=True):
    """The same of one hour, of all keys of an organisation together."""

    TABLE: ClassVar[str] = "usage_totals"
    KEY: ClassVar[tuple[str, ...]] = ("hour", "organization", "model", "pool", "provider")

    hour: int
    organization: str
    model: str
    pool: str
    provider: str
