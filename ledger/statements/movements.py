"""Owns what is read for a statement: what happened to an organisation's accounts from one hour to another, and what they have.

Its accounts are its wallet, its playground and those of all its keys, revoked ones too. What acts did is in credits, what
calls were billed in the roll-ups of days, of hours where a day is cut, and in the calls that are not summed yet.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from ledger.rollups.sql import CALLS, DAY_MS, HOUR_MS, ROLLED
from ledger.rules.rollup_rows import SUMS
from ledger.rules.rows import TOKEN_COLUMNS
from ledger.store.base import Reader

KEYS_MANY: Final = 500  # beyond which sums of hours of all keys are read rather than days of each
FOREVER_MS: Final = 2**52 // DAY_MS * DAY_MS  # beyond all that is ever booked
_HOURS_A_DAY: Final = DAY_MS // HOUR_MS
_MINE: Final = (
    "(SELECT account_id FROM api_keys WHERE profile = $1 UNION SELECT 'org:' || CAST($1 AS text) "
    "UNION SELECT 'playground:' || CAST($1 AS text))"
)
_KEYS: Final = "(SELECT id FROM api_keys WHERE profile = $1)"
_CREDITS_SQL: Final = (
    f"SELECT kind, COUNT(*), SUM(amount_nano) FROM credits WHERE account_id IN {_MINE} "  # noqa: S608  made of our own words
    "AND created_ms >= $2 AND created_ms < $3 GROUP BY kind"
)
_POSTED_SQL: Final = f"SELECT COALESCE(SUM(posted_nano), 0) FROM accounts WHERE id IN {_MINE}"  # noqa: S608  as above
_FIRST_SQL: Final = f"SELECT MIN(created_ms) FROM credits WHERE account_id IN {_MINE}"  # noqa: S608  as above
_TOKENS: Final = tuple(f"{name}_tokens" for name in TOKEN_COLUMNS.values())
_ROLLED_SUMS: Final = f"SUM(calls), SUM({' + '.join(_TOKENS)}), SUM(list_nano), SUM(billed_nano)"
_FRESH_SUMS: Final = ", ".join(
    f"SUM({value})"
    for value in (
        SUMS["calls"],
        " + ".join(SUMS[name] for name in _TOKENS),
        SUMS["list_nano"],
        SUMS["billed_nano"],
    )
)
_DAYS_SQL: Final = (
    f"SELECT key_id, model, {_ROLLED_SUMS} FROM usage_days WHERE key_id IN {_KEYS} "  # noqa: S608  as above
    "AND day >= $2 AND day < $3 GROUP BY key_id, model"
)
_HOURS_SQL: Final = (
    f"SELECT key_id, model, {_ROLLED_SUMS} FROM usage_hours "  # noqa: S608  as above
    "WHERE organization = $1 AND hour >= $2 AND hour < $3 GROUP BY key_id, model"
)
_SOME_KEYS_SQL: Final = "SELECT COUNT(*) FROM (SELECT 1 FROM api_keys WHERE profile = $1 LIMIT $2) AS few"
_DAYS_NANO_SQL: Final = (
    f"SELECT COALESCE(SUM(billed_nano), 0) FROM usage_days WHERE key_id IN {_KEYS} AND day >= $2 AND day < $3"  # noqa: S608  as above
)
_HOURS_NANO_SQL: Final = "SELECT COALESCE(SUM(billed_nano), 0) FROM usage_totals WHERE organization = $1 AND hour >= $2 AND hour < $3"
_FRESH_SQL: Final = (
    f"SELECT u.key_id, u.model, {_FRESH_SUMS} FROM {CALLS} WHERE u.seq > ({ROLLED}) "  # noqa: S608  as above
    "AND COALESCE(k.profile, '') = $1 AND u.created_ms >= $2 AND u.created_ms < $3 GROUP BY u.key_id, u.model"
)


class Posted(Struct, frozen=True):
    """What acts of one kind did: how often, and the sum as the balance sees it."""

    kind: str
    count: int
    amount_nano: int


class Charged(Struct, frozen=True):
    """What the calls of one key with one model came to."""

    key_id: str
    model: str
    calls: int
    tokens: int
    list_nano: int
    billed_nano: int


async def posted(reader: Reader, organization: str, start_ms: int, end_ms: int) -> list[Posted]:
    """What acts did to an organisation's accounts."""
    rows = await reader.fetch(_CREDITS_SQL, organization, start_ms, end_ms)
    return [Posted(row[0], int(row[1]), int(row[2])) for row in rows]


async def charged(reader: Reader, organization: str, start_ms: int, end_ms: int) -> list[Charged]:
    """What its calls were billed, by key and model. Both moments are whole hours."""
    days, hours = _cut(start_ms, end_ms)
    rows: list[Sequence[Any]] = []
    for sql, spans in ((_DAYS_SQL, days), (_HOURS_SQL, hours)):
        for begin, end in spans:
            rows += await reader.fetch(sql, organization, begin, end)
    rows += await reader.fetch(_FRESH_SQL, organization, start_ms, end_ms)
    return _together(rows)


def _cut(start_ms: int, end_ms: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """A time as whole days, and as the hours before and after them."""
    first, last = -(-start_ms // DAY_MS), end_ms // DAY_MS
    begin, end = start_ms // HOUR_MS, end_ms // HOUR_MS
    if first >= last:
        return [], [(begin, end)] if begin < end else []
    ends = [(begin, first * _HOURS_A_DAY), (last * _HOURS_A_DAY, end)]
    return [(first, last)], [one for one in ends if one[0] < one[1]]


def _together(rows: Iterable[Sequence[Any]]) -> list[Charged]:
    sums: dict[tuple[str, str], list[int]] = {}
    for key_id, model, *figures in rows:
        found = sums.setdefault((key_id, model), [0] * len(figures))
        for at, figure in enumerate(figures):
            found[at] += int(figure)
    return [Charged(*name, *figures) for name, figures in sorted(sums.items()) if any(figures)]


async def billed_nano(reader: Reader, organization: str, start_ms: int, end_ms: int) -> int:
    """What its calls were billed together. Both moments are whole hours."""
    (keys,) = await reader.fetch(_SOME_KEYS_SQL, organization, KEYS_MANY)
    days, hours = _cut(start_ms, end_ms)
    if int(keys[0]) == KEYS_MANY:  # the sums of all keys together are far fewer rows
        days, hours = [], [(start_ms // HOUR_MS, end_ms // HOUR_MS)]
    total = 0
    for sql, spans in ((_DAYS_NANO_SQL, days), (_HOURS_NANO_SQL, hours)):
        for begin, end in spans:
            (row,) = await reader.fetch(sql, organization, begin, end)
            total += int(row[0])
    fresh = await reader.fetch(_FRESH_SQL, organization, start_ms, end_ms)
    return total + sum(one.billed_nano for one in _together(fresh))


async def moved_nano(reader: Reader, organization: str, start_ms: int, end_ms: int) -> int:
    """By how much its accounts have changed together."""
    given = sum(one.amount_nano for one in await posted(reader, organization, start_ms, end_ms))
    return given - await billed_nano(reader, organization, start_ms, end_ms)


async def accounts_nano(reader: Reader, organization: str) -> int:
    """What its accounts have together now."""
    (row,) = await reader.fetch(_POSTED_SQL, organization)
    return int(row[0])


async def first_ms(reader: Reader, organization: str) -> int | None:
    """When something first happened to its accounts; None if nothing ever did."""
    (row,) = await reader.fetch(_FIRST_SQL, organization)
    return None if row[0] is None else int(row[0])
