"""Owns what a question for sums means in SQL: the table that answers it, its conditions, and its groups."""

from datetime import UTC, datetime
from typing import Any, Final

from ledger.rollups.sql import DAY_MS, HOUR_MS, Rollup
from ledger.rules.rollup_rows import UsageDay, UsageHour, UsageTotal
from schemas.verbs.sums import SumsQuery

HOURS_A_DAY: Final = DAY_MS // HOUR_MS
TOTALS: Final = Rollup(UsageTotal)
_COLUMNS = {"key": "key_id"}
_MONTH = {  # of a number of hours, as yyyy-mm
    "sqlite": "strftime('%Y-%m', hour * 3600, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(hour * 3600) AT TIME ZONE 'UTC', 'YYYY-MM')",
}


def rollup_of(query: SumsQuery) -> Rollup:
    """The smallest table that tells apart what is asked for."""
    whole_days = not (query.since_s % 86_400 or query.until_s % 86_400) and "hour" not in query.by
    if "key" not in query.by and not query.key_id:
        return TOTALS
    return Rollup(UsageDay if whole_days and "pool" not in query.by else UsageHour)


def expression(name: str, unit: str, dialect: str) -> str:
    """What a part of `by` is in SQL over a table's columns."""
    if name == "month":
        return _MONTH[dialect] if unit == "hour" else _MONTH[dialect].replace("hour", f"day * {HOURS_A_DAY}")
    if name == "day" and unit == "hour":
        return f"hour / {HOURS_A_DAY}"
    return _COLUMNS.get(name, name)


def within(query: SumsQuery, unit: str) -> str:
    """The time that is asked for, as a condition on a table's unit."""
    unit_s = (HOUR_MS if unit == "hour" else DAY_MS) // 1000
    bounds = ((">=", query.since_s), ("<", -(-query.until_s // unit_s) * unit_s))
    return " AND ".join(
        ("1 = 1", *(f"{unit} {sign} {second // unit_s}" for sign, second in bounds if second))
    )


def filtered(query: SumsQuery, first: int = 1) -> tuple[str, list[Any]]:
    """What else is asked for, as a condition with its values, which are numbered from `first` on."""
    named = {"key_id": query.key_id, "organization": query.organization, "model": query.model}
    given = [(column, value) for column, value in named.items() if value]
    conditions = (f"{column} = ${number}" for number, (column, _) in enumerate(given, first))
    return " AND ".join(("1 = 1", *conditions)), [value for _, value in given]


def shown(name: str, value: Any) -> Any:
    """A period as people write it: 2026-11-25T13:00:00Z, 2026-11-25, 2026-11."""
    if name == "hour":
        return datetime.fromtimestamp(value * 3600, UTC).strftime("%Y-%m-%dT%H:00:00Z")
    if name == "day":
        return datetime.fromtimestamp(value * 86_400, UTC).strftime("%Y-%m-%d")
    return value
