"""Owns a page of sums by key, of however many keys: the largest first where few rows make them, else in the order of the keys."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ledger.rollups.asked import HOURS_A_DAY, expression, filtered, rollup_of, shown, within
from ledger.rollups.reading import FRESH, sums
from ledger.rollups.sql import DAY_MS, HOUR_MS
from ledger.rollups.walking import LOOKS_MAX, Place, Walk, Window
from ledger.store.base import Reader
from schemas.verbs.sums import PERIODS, SumsQuery

RANKED_ROWS_MAX: Final = 30_000  # of a roll-up: a thousand keys and thirty days
Page = tuple[list[dict[str, Any]], int | str]


async def page_by_key(reader: Reader, query: SumsQuery, limit: int) -> Page:
    """A page, and the next one's cursor: 0 at the end. Raises ValueError for a cursor that is none."""
    if query.largest and query.by == ("key",) and isinstance(query.after, int):
        if (ranked := await _ranked(reader, query, limit)) is not None:
            return ranked
        if query.or_none:
            return [], str(Place(0))
    elif isinstance(query.after, int) and query.after:
        raise ValueError(query.after)
    return await _walked(reader, query, limit)


async def hours_of_key(reader: Reader, key_id: str) -> list[int]:
    """The hours of all days on which a key was used: that of one call more is no matter."""
    rows = await reader.fetch(
        "SELECT day FROM usage_days WHERE key_id = $1 "  # noqa: S608  made of our own words
        f"UNION SELECT u.created_ms / {DAY_MS} FROM usage AS u WHERE {FRESH} AND u.key_id = $1",
        key_id,
    )
    return [
        hour
        for (day,) in rows
        for hour in range(int(day) * HOURS_A_DAY, int(day) * HOURS_A_DAY + HOURS_A_DAY)
    ]


async def _ranked(reader: Reader, query: SumsQuery, limit: int) -> Page | None:
    """What was billed most; None where too many rows make it."""
    rollup = rollup_of(query)
    time = within(query, rollup.unit)
    too_many = await reader.fetch(
        f"SELECT 1 FROM {rollup.name} WHERE {time} ORDER BY {rollup.unit}, key_id LIMIT 1 OFFSET {RANKED_ROWS_MAX}"  # noqa: S608  our own words
    )
    if too_many:
        return None
    where, values = filtered(query)
    offset = max(int(query.after), 0)
    found = await sums(
        reader,
        rollup,
        ("key_id",),
        f"{time} AND {where}",
        *values,
        first="billed_nano DESC",
        page=f"LIMIT {limit + 1} OFFSET {offset}",
    )
    return [_named(row, {}) for row in found[:limit]], offset + limit if len(found) > limit else 0


async def _walked(reader: Reader, query: SumsQuery, limit: int) -> Page:
    hours = rollup_of(query).unit == "hour"
    period = next((name for name in query.by if name in PERIODS), "")
    others = tuple(name for name in query.by if name not in (period, "key"))
    where, values = filtered(query, 2)
    place = Place.of(query.after) if isinstance(query.after, str) and query.after else Place(0)
    walk = Walk(
        organization=query.organization,
        by=tuple(expression(name, "", reader.dialect) for name in others),
        where=where,
        values=tuple(values),
        hours=hours,
    )
    windows = await _windows(reader, query, period, place)
    found, following = await walk.page(reader, windows, place, limit)
    rows = [_named(row, {period: _period(period, window)} if period else {}) for window, row in found]
    return rows, str(following) if following is not None else 0


def _named(row: dict[str, Any], period: dict[str, Any]) -> dict[str, Any]:
    return {
        **period,
        "key": row["key_id"],
        **{name: value for name, value in row.items() if name != "key_id"},
    }


def _period(period: str, window: Window) -> str:
    if period == "month":
        return datetime.fromtimestamp(window.begin * 3600, UTC).strftime("%Y-%m")
    return str(shown(period, window.begin if period == "hour" else window.days.start))


async def _windows(reader: Reader, query: SumsQuery, period: str, place: Place) -> list[Window]:
    """The windows of time that have sums of their own, from a place on."""
    fresh = {
        int(row[0])
        for row in await reader.fetch(
            f"SELECT DISTINCT u.created_ms / {HOUR_MS} FROM usage AS u WHERE {FRESH}"  # noqa: S608  our own number
        )
    }
    ((first, last),) = await reader.fetch("SELECT MIN(hour), MAX(hour) FROM usage_totals")
    known = [int(hour) for hour in (first, last) if hour is not None] + sorted(fresh)
    if not known:
        return []
    begin = max(query.since_s // 3600, min(known))
    end = min(-(-query.until_s // 3600) if query.until_s else max(known) + 1, max(known) + 1)
    if rollup_of(query).unit != "hour":
        begin, end = begin - begin % HOURS_A_DAY, -(-end // HOURS_A_DAY) * HOURS_A_DAY
    if begin >= end:
        return []
    if period == "hour":
        hours = await _used(reader, max(begin, place.begin), end, fresh)
        return [Window(hour, hour + 1) for hour in hours]
    return [one for one in _split(begin, end, period) if one.begin >= place.begin]


async def _used(reader: Reader, begin: int, end: int, fresh: set[int]) -> list[int]:
    """The next hours in which there was any call: one more than a page looks at."""
    rows = await reader.fetch(
        f"SELECT DISTINCT hour FROM usage_totals WHERE hour >= {begin} AND hour < {end} "  # noqa: S608  our own numbers
        f"ORDER BY hour LIMIT {LOOKS_MAX + 1}"
    )
    hours = {int(row[0]) for row in rows} | {hour for hour in fresh if begin <= hour < end}
    return sorted(hours)[: LOOKS_MAX + 1]


def _split(begin: int, end: int, period: str) -> Iterator[Window]:
    while begin < end:
        following = end
        if period == "day":
            following = begin - begin % HOURS_A_DAY + HOURS_A_DAY
        elif period == "month":
            month = datetime.fromtimestamp(begin * 3600, UTC).replace(day=1, hour=0)
            later = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
            following = int(later.timestamp()) // 3600
        yield Window(begin, min(following, end))
        begin = following
