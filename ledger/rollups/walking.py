"""Owns sums by key of any number of keys: read key by key from where the last page ended, so that a page costs what it shows."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from ledger.rollups.asked import HOURS_A_DAY
from ledger.rollups.reading import FRESH, sums
from ledger.rollups.sql import CALLS, HOUR_MS, Rollup
from ledger.rules.rollup_rows import UsageDay, UsageHour
from ledger.store.base import Reader

LOOKS_MAX: Final = 16  # for keys, for one page; then it ends, and says where the next begins
KEYS_MIN: Final = 100  # that one looks for, since some of them may not be meant
DAYS_MAX: Final = 7  # of one window, beyond which each key is taken to have been used in it
SEEKS_MAX: Final = 10_000  # hours times keys, in one query
_DAYS, _HOURS = Rollup(UsageDay), Rollup(UsageHour)


class Window(Struct, frozen=True):
    """Whole hours (since 1970), the last one excluded."""

    begin: int
    end: int

    @property
    def hours(self) -> range:
        """The hours in it."""
        return range(self.begin, self.end)

    @property
    def days(self) -> range:
        """The days that it lies in."""
        return range(self.begin // HOURS_A_DAY, -(-self.end // HOURS_A_DAY))


class Place(Struct, frozen=True):
    """Where a page begins: after a key in a window, and after so many rows of the keys behind it."""

    begin: int
    skip: int = 0
    key: str = ""

    @classmethod
    def of(cls, cursor: str) -> "Place":
        """A place as a cursor has it. Raises ValueError."""
        begin, skip, key = cursor.split(":", 2)
        return cls(int(begin), int(skip), key)

    def __str__(self) -> str:
        return f"{self.begin}:{self.skip}:{self.key}"


Found = list[tuple[Window, dict[str, Any]]]


class Walk(Struct, frozen=True, kw_only=True):
    """What is asked for: sums of the keys of an organisation ("" for all), by columns beside the key.

    `where` is a condition on a roll-up's columns, with `values` from $2 on. With `hours` they are read hour by hour.
    """

    organization: str
    by: tuple[str, ...]
    where: str
    values: tuple[Any, ...]
    hours: bool

    async def page(
        self, reader: Reader, windows: Iterable[Window], place: Place, limit: int
    ) -> tuple[Found, Place | None]:
        """Rows with their windows, at most so many, from a place on; and where there may be more."""
        found: Found = []
        looks = 0
        for window in windows:
            begin: Place | None = place if window.begin == place.begin else Place(window.begin)
            while begin is not None:
                if len(found) == limit or looks == LOOKS_MAX:
                    return found, begin
                looks += 1
                rows, begin, more = await self._look(reader, window, begin, limit - len(found))
                found += ((window, row) for row in rows)
                if more:
                    return found, begin
        return found, None

    async def _look(
        self, reader: Reader, window: Window, place: Place, room: int
    ) -> tuple[list[dict[str, Any]], Place | None, bool]:
        """Rows of the next keys; the place behind them, None at the window's end; and whether there are more than room for."""
        size = max(room + 1, KEYS_MIN)
        if self.hours:
            size = max(min(size, SEEKS_MAX // len(window.hours)), 1)
        keys = await self._keys(reader, window, place.key, size)
        rows = await self._sums(reader, window, keys) if keys else []
        kept = rows[place.skip : place.skip + room]
        end = place.skip + len(kept)
        if end < len(rows):
            key = rows[end]["key_id"]
            before = keys[: keys.index(key)]
            skip = sum(row["key_id"] == key for row in rows[:end])
            return kept, Place(window.begin, skip, before[-1] if before else place.key), True
        return kept, Place(window.begin, 0, keys[-1]) if len(keys) == size else None, False

    async def _sums(self, reader: Reader, window: Window, keys: Sequence[str]) -> list[dict[str, Any]]:
        if self.hours:
            rollup, when = _HOURS, f"hour IN ({', '.join(map(str, window.hours))})"
        else:
            rollup, when = _DAYS, f"day >= {window.days.start} AND day < {window.days.stop}"
        where = f"key_id {reader.among} AND {when} AND {self.where}"
        return await sums(reader, rollup, ("key_id", *self.by), where, reader.array(keys), *self.values)

    async def _keys(self, reader: Reader, window: Window, after: str, count: int) -> list[str]:
        """The next keys that may have been used in a window, in their order."""
        units, table, unit = window.days, _DAYS.name, _DAYS.unit
        if len(window.hours) == 1:
            units, table, unit = window.hours, _HOURS.name, _HOURS.unit
        of, owned = "", ""
        if self.organization:
            owned = " AND k.profile = $2"
            of = "(SELECT MIN(k.id) FROM api_keys AS k WHERE k.id > {} AND k.profile = $2)"
        elif len(units) > DAYS_MAX:
            of = f"(SELECT MIN(r.key_id) FROM {table} AS r WHERE r.key_id > {{}})"  # noqa: S608  made of our own words
        else:
            of = (
                f"(SELECT MIN((SELECT MIN(r.key_id) FROM {table} AS r WHERE r.{unit} = n.unit "  # noqa: S608  as above
                "AND r.key_id > {})) FROM units AS n)"
            )
        rows = await reader.fetch(
            f"WITH RECURSIVE units(unit) AS (SELECT CAST({units.start} AS bigint) "  # noqa: S608  made of our own words
            f"UNION ALL SELECT unit + 1 FROM units WHERE unit < {units.stop - 1}), "
            f"walked(key_id, number) AS (SELECT {of.format('$1')}, 1 "
            f"UNION ALL SELECT {of.format('walked.key_id')}, number + 1 FROM walked "
            f"WHERE key_id IS NOT NULL AND number < {count}) "
            "SELECT key_id FROM walked WHERE key_id IS NOT NULL "
            f"UNION SELECT u.key_id FROM {CALLS} WHERE {FRESH} AND u.key_id > $1{owned} "
            f"AND u.created_ms >= {window.begin * HOUR_MS} AND u.created_ms < {window.end * HOUR_MS} "
            f"ORDER BY 1 LIMIT {count}",
            *(after, self.organization) if self.organization else (after,),
        )
        return [str(row[0]) for row in rows]
