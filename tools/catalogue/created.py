"""Owns when a model came out: what its id says, else what its dated snapshots say; no source has a day of its own."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

from msgspec import structs

from schemas.catalogue.row import Row

# A day, or a month, as vendors write them into ids: 2026-03-05, 20260305, 09-2025, and 2508 at the end or before a dash.
_DAY: Final = re.compile(r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)")
_MONTH: Final = re.compile(r"(?<!\d)([01]\d)-(20\d\d)(?!\d)")
_SHORT_MONTH: Final = re.compile(r"-(2[3-9])([01]\d)(?=$|-)")
_LATEST: Final = "-latest"


def day_in(name: str) -> date | None:
    """The day that an id has in it, of a month the first; None for an id without one."""
    if found := _DAY.search(name):
        return _day(found[1], found[2], found[3])
    if found := _MONTH.search(name):
        return _day(found[2], found[1])
    if found := _SHORT_MONTH.search(name):
        return _day(f"20{found[1]}", found[2])
    return None


def with_created(rows: Iterable[Row], as_of: date) -> list[Row]:
    """The rows, each with the day in its id, else that of a snapshot; 0 where none is known.

    A snapshot has the same id and a day. Of a bare id the first counts, at its preset or else at any; of one that ends
    in `latest` the first among its aliases. A day to come is none.
    """
    rows = list(rows)
    days = {(row.preset, row.id): day for row in rows if (day := day_in(row.id)) and day <= as_of}
    first: dict[tuple[str, str], date] = {}
    for (preset, name), day in days.items():
        for place in ((preset, _bare(name)), ("", _bare(name))):
            first[place] = min(day, first.get(place, day))
    made = []
    for row in rows:
        day = days.get((row.preset, row.id)) or first.get((row.preset, row.id)) or first.get(("", row.id))
        if row.id.endswith(_LATEST):
            same = [name for name in row.aliases if _bare(name) == row.id.removesuffix(_LATEST)]
            day = min((days[row.preset, name] for name in same if (row.preset, name) in days), default=None)
        made.append(structs.replace(row, created=_unix(day) if day is not None else 0))
    return made


def _bare(name: str) -> str:
    """An id without its day or month, and what ties that to it."""
    for pattern in (_DAY, _MONTH, _SHORT_MONTH):
        if pattern.search(name):
            return pattern.sub("", name, count=1).rstrip("-@")
    return name


def _day(year: str, month: str, day: str = "1") -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _unix(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
