"""Owns the answer with sums of usage: from the smallest table that tells apart what is asked for. Reads only."""

from typing import Any, Final

from msgspec import structs

from ledger.rollups.asked import TOTALS, expression, filtered, rollup_of, shown, within
from ledger.rollups.reading import sums
from ledger.rules.rollup_rows import SUMS as FIGURES
from ledger.store.base import Reader, Store
from ledger.verbs.base import Read, Services
from ledger.verbs.sums_by_key import Page, hours_of_key, page_by_key
from schemas.verbs import sums as verbs
from schemas.verbs.base import Rows
from schemas.verbs.sums import PARTS, PERIODS, ROWS_MAX, SumsQuery

PART_DAYS: Final = 3  # that are read at once for a page that days fill
DAY_S: Final = 86_400
_NO_SUCH_START = Rows(problem="starting_after: sums have no such page")


def _problem(query: SumsQuery) -> str:
    unknown = [name for name in query.by if name not in PERIODS + PARTS]
    if unknown:
        return f"sums are by {', '.join(PERIODS + PARTS)}, not by {unknown[0]}"
    if len(set(query.by)) < len(query.by) or sum(name in PERIODS for name in query.by) > 1:
        return "sums are by one period at most, and by nothing twice"
    if not set(query.figures) <= FIGURES.keys():
        return f"sums have the figures {', '.join(FIGURES)}"
    return ""


async def sums_page(services: Services, query: SumsQuery) -> Rows:
    """A page of sums."""
    problem = _problem(query)
    if problem:
        return Rows(problem=problem)
    limit = min(max(query.limit, 1), ROWS_MAX)
    try:
        # What takes long, SQLite would read in the loop of the calls. PostgreSQL has connections for it.
        brief = query.key_id or ("key" not in query.by and services.store.dialect == "postgresql")
        if brief and not query.rest:
            rows, cursor = await _page(services.store, query, limit)
            return Rows(tuple(rows), cursor=cursor)
        async with services.store.snapshot() as reader:  # all of it at one moment, and beside the calls
            by_key = "key" in query.by and not query.key_id
            rows, cursor = await (page_by_key if by_key else _page)(reader, query, limit)
            rest = (
                await _rest(reader, query, rows, whole=not query.after and not cursor) if query.rest else None
            )
    except ValueError:
        return _NO_SUCH_START
    return Rows(tuple(rows), cursor=cursor, rest=rest)


async def _page(reader: Reader | Store, query: SumsQuery, limit: int) -> Page:
    """Sums of all keys together, or of one. A page of any number of organisations reads days until it is full."""
    offset = max(int(query.after), 0)
    if query.by[:1] not in (("hour",), ("day",)) or "organization" not in query.by or not query.since_s:
        found = await _sums(reader, query, f"LIMIT {limit + 1} OFFSET {offset}")
        return found[:limit], offset + limit if len(found) > limit else 0
    found, part = [], query
    while len(found) <= offset + limit and (until_s := _part_end_s(part)) < query.until_s:
        found += await _sums(reader, structs.replace(part, until_s=until_s))
        part = structs.replace(part, since_s=until_s)
    if len(found) <= offset + limit:
        found += await _sums(reader, part)
    return found[offset:][:limit], offset + limit if len(found) > offset + limit else 0


def _part_end_s(query: SumsQuery) -> int:
    return (query.since_s // DAY_S + PART_DAYS) * DAY_S


async def _sums(reader: Reader | Store, query: SumsQuery, page: str = "") -> list[dict[str, Any]]:
    rollup = rollup_of(query)
    where, values = filtered(query)
    where = f"{within(query, rollup.unit)} AND {where}"
    if query.key_id and rollup.unit == "hour":
        hours = await hours_of_key(reader, query.key_id)
        where += f" AND hour IN ({', '.join(map(str, hours or [0]))})"
    by = {name: expression(name, rollup.unit, reader.dialect) for name in query.by}
    figures = query.figures or tuple(FIGURES)
    rows = await sums(reader, rollup, tuple(by.values()), where, *values, figures=figures, page=page)
    return [_row(by, row) for row in rows]


def _row(by: dict[str, str], row: dict[str, Any]) -> dict[str, Any]:
    used = {name: value for name, value in row.items() if name not in by.values()}
    return {**{name: shown(name, row[made]) for name, made in by.items()}, **used}


async def _rest(
    reader: Reader, query: SumsQuery, rows: list[dict[str, Any]], *, whole: bool
) -> dict[str, int]:
    """What a page leaves out of the sums, those of the pages before and behind it: nothing if it is the only one."""
    figures = query.figures or tuple(FIGURES)
    if whole:
        return dict.fromkeys(figures, 0)
    rollup = rollup_of(query) if query.key_id else TOTALS
    where, values = filtered(query)
    where = f"{within(query, rollup.unit)} AND {where}"
    (every,) = await sums(reader, rollup, (), where, *values, figures=figures)
    return {name: every[name] - sum(row[name] for row in rows) for name in figures}


SUMS = Read(verb=verbs.SUMS, answer=sums_page)
