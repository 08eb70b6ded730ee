"""Owns the SQL of roll-ups: rows of calls summed into each table, with the same sums everywhere."""

from typing import Final

from msgspec import Struct

from ledger.rules.rollup_rows import SUMS, UsageDay, UsageHour, UsageTotal
from ledger.rules.rows import Row

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
ROLLED: Final = "SELECT seq FROM rollups WHERE id = 'usage'"
CALLS: Final = "usage u LEFT JOIN api_keys k ON k.id = u.key_id"
_WHO: Final = {
    "key_id": "u.key_id",
    "model": "u.model",
    "pool": "u.pool",
    "provider": "u.provider",
    "organization": "COALESCE(k.profile, '')",
}
_UNITS: Final = {"hour": HOUR_MS, "day": DAY_MS}


class Rollup(Struct, frozen=True):
    """One table of sums."""

    kind: type[Row]

    @property
    def name(self) -> str:
        """The table."""
        return self.kind.TABLE

    @property
    def unit(self) -> str:
        """The column of its time."""
        return "day" if "day" in self.kind.KEY else "hour"

    def values(self, when: str) -> list[str]:
        """What each column of its key is of a usage row `u` and its key `k`; `when` is unix milliseconds in SQL."""
        return [_WHO.get(name) or f"{when} / {_UNITS[name]}" for name in self.kind.KEY]

    def added(self, when: str, where: str, sign: str = "") -> str:
        """Adds the rows that meet a condition to the table, or takes them off with the sign -."""
        key = ", ".join(self.kind.KEY)
        places = ", ".join(str(number) for number in range(1, len(self.kind.KEY) + 1))
        sums = ", ".join(f"{sign}SUM({value})" for value in SUMS.values())
        more = ", ".join(f"{name} = {self.name}.{name} + excluded.{name}" for name in SUMS)
        return (
            f"INSERT INTO {self.name} ({key}, {', '.join(SUMS)}) "  # noqa: S608  made of our own column names
            f"SELECT {', '.join(self.values(when))}, {sums} FROM {CALLS} WHERE {where} "
            f"GROUP BY {places} ORDER BY {places} ON CONFLICT ({key}) DO UPDATE SET {more}"
        )


ROLLUPS: Final = tuple(Rollup(kind) for kind in (UsageHour, UsageDay, UsageTotal))
