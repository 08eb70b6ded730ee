"""Owns the answer with sums of usage: from the smallest table that tells apart what is asked for. Reads only."""

from datetime import UTC, datetime
from typing import Any

from ledger.rollups.reading import sums
from ledger.rollups.sql import DAY_MS, HOUR_MS, Rollup
from ledger.rules.rollup_rows import UsageDay, UsageHour, UsageTotal
from ledger.verbs.base import Read, Services
from ledger.verbs.keys import PAGE_MAX
from schemas.verbs import sums as verbs
from schemas.verbs.base import Rows
from schemas.verbs.sums import PARTS, PERIODS, SumsQuery

_COLUMNS = {"key": "key_id"}
_HOURS_A_DAY = DAY_MS // HOUR_MS
_MONTH = {  # of a number of hours, as yyyy-mm
    "sqlite": "strftime('%Y-%m', hour * 3600, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(hour * 3600) AT TIME ZONE 'UTC', 'YYYY-MM')",
}


def _problem(query: SumsQuery) -> str:
    unknown = [name for name in query.by if name not in PERIODS + PARTS]
    if unknown:
        return f"sums are by {', '.join(PERIODS + PARTS)}, not by {unknown[0]}"
    if len(set(query.by)) < len(query.by) or sum(name in PERIODS for name in query.by) > 1:
        return "sums are by one period at most, and by nothing twice"
    return ""


def _rollup(query: SumsQuery) -> Rollup:
    whole_days = not (query.since_s % 86_400 or query.until_s % 86_400) and "hour" not in query.by
    if "key" not in query.by and not query.key_id:
        return Rollup(UsageTotal)
    return Rollup(UsageDay if whole_days and "pool" not in query.by else UsageHour)


def _expression(name: str, unit: str, dialect: str) -> str:
    """What a part of `by` is in SQL over a table's columns."""
    if name == "month":
        return _MONTH[dialect] if unit == "hour" else _MONTH[dialect].replace("hour", f"day * {_HOURS_A_DAY}")
    if name == "day" and unit == "hour":
        return f"hour / {_HOURS_A_DAY}"
    return _COLUMNS.get(name, name)


def _where(query: SumsQuery, unit: str) -> tuple[str, list[Any]]:
    unit_s = (HOUR_MS if unit == "hour" else DAY_MS) // 1000
    conditions = ["1 = 1"]
    parameters: list[Any] = []
    bounds = ((">=", query.since_s), ("<", -(-query.until_s // unit_s) * unit_s))
    conditions += [f"{unit} {sign} {second // unit_s}" for sign, second in bounds if second]
    for column, value in (
        ("key_id", query.key_id),
        ("organization", query.organization),
        ("model", query.model),
    ):
        if value:
            parameters.append(value)
            conditions.append(f"{column} = ${len(parameters)}")
    return " AND ".join(conditions), parameters


def _shown(name: str, value: Any) -> Any:
    """A period as people write it: 2026-11-25T13:00:00Z, 2026-11-25, 2026-11."""
    if name == "hour":
        return datetime.fromtimestamp(value * 3600, UTC).strftime("%Y-%m-%dT%H:00:00Z")
    if name == "day":
        return datetime.fromtimestamp(value * 86_400, UTC).strftime("%Y-%m-%d")
    return value


async def sums_page(services: Services, query: SumsQuery) -> Rows:
    """A page of sums."""
    problem = _problem(query)
    if problem:
        return Rows(problem=problem)
    rollup = _rollup(query)
    where, parameters = _where(query, rollup.unit)
    store = services.store
    by = {name: _expression(name, rollup.unit, store.dialect) for name in query.by}
    limit = min(max(query.limit, 1), PAGE_MAX)
    page = f"LIMIT {limit + 1} OFFSET {max(query.after, 0)}"
    found = await sums(store, rollup, tuple(by.values()), where, *parameters, page=page)
    more = len(found) > limit
    rows = tuple(_row(by, row) for row in found[:limit])
    return Rows(rows, cursor=max(query.after, 0) + limit if more else 0)


def _row(by: dict[str, str], row: dict[str, Any]) -> dict[str, Any]:
    used = {name: value for name, value in row.items() if name not in by.values()}
    return {**{name: _shown(name, row[expression]) for name, expression in by.items()}, **used}


SUMS = Read(verb=verbs.SUMS, answer=sums_page)
