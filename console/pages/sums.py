"""Owns figures of usage for pages: sums read page by page, put into hours and days without gaps."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import structs

from console.pages.visit import Visit
from schemas.admin.reads import USAGE
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.sums import ROWS_MAX, SumsQuery
from web.charts import Series
from web.figures import NOTHING

CHARTED_MAX: Final = 2_000  # rows
HOUR_S: Final = 3_600
DAY_S: Final = 86_400


async def sums(
    visit: Visit, by: tuple[str, ...], *, most: int = CHARTED_MAX, **asked: Any
) -> list[dict[str, Any]]:
    """Sums by some parts, at most so many rows: whoever needs to know whether there are more asks for one more."""
    query = SumsQuery(VERSION, by=by, limit=ROWS_MAX, **asked)
    found: list[dict[str, Any]] = []
    while len(found) < most:
        page = await visit.rows(USAGE, query)
        found += page.rows
        if not page.cursor or not page.rows:
            break
        query = structs.replace(query, after=page.cursor)
    return found[:most]


async def page_of(
    visit: Visit, by: tuple[str, ...], *, limit: int = ROWS_MAX, after: int | str = 0, **asked: Any
) -> Rows:
    """One page of sums, keys that were billed most first where that can be told at once, with what it leaves out."""
    query = SumsQuery(VERSION, by=by, after=after, limit=limit, largest=True, rest=True, **asked)
    return await visit.rows(USAGE, query)


async def largest(visit: Visit, count: int, **asked: Any) -> list[dict[str, Any]] | None:
    """The keys that were billed most; None where there are too many to tell."""
    query = SumsQuery(VERSION, by=("key",), limit=count, largest=True, or_none=True, **asked)
    page = await visit.rows(USAGE, query)
    return None if isinstance(page.cursor, str) else list(page.rows)


def total(rows: Iterable[dict[str, Any]], *names: str) -> int:
    """The sum of some figures over rows."""
    return sum(int(row.get(name) or 0) for row in rows for name in names)


def hours(now_s: int, count: int) -> tuple[int, list[str]]:
    """The last so many hours: when they begin, and each as sums name it."""
    last = now_s // HOUR_S
    names = [
        datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m-%dT%H:00:00Z")
        for hour in range(last - count + 1, last + 1)
    ]
    return (last - count + 1) * HOUR_S, names


def days(first: datetime, last: datetime) -> list[str]:
    """The days from one to another, both included, as sums name them."""
    count = (last.date() - first.date()).days + 1
    return [(first + timedelta(days=number)).strftime("%Y-%m-%d") for number in range(max(count, 0))]


def series(rows: Sequence[dict[str, Any]], names: Sequence[str], part: str, figure: str) -> list[Series]:
    """One series for each value of a part, with 0 where it has no row; the largest first."""
    places = {name: number for number, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    for row in rows:
        if (place := places.get(str(row["start"]))) is not None:
            values = found.setdefault(str(row.get(part) or NOTHING) if part else "all", [0] * len(names))
            values[place] += max(int(row[figure]), 0)
    ordered = sorted(found.items(), key=lambda item: -sum(item[1]))
    return [Series(name, tuple(values)) for name, values in ordered]


def short(name: str) -> str:
    """An hour or a day as an axis has it."""
    return name[11:16] if "T" in name else name[5:] if len(name) == 10 else name


def percentile(values: Sequence[int], percent: int) -> int | None:
    """The value that so many percent are not above; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else None
