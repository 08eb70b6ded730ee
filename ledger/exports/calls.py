"""Owns pages of calls, in the order in which they were booked, with what they came to until the export's moment.

A call may be corrected or refunded while an export runs: what was charged or given back since is taken off again, by its
transfers. Tokens and outcome are those of now.
"""

from collections.abc import Sequence
from typing import Any, Final

from ledger.exports.asked import SCANNED, Asked, Page, Size
from ledger.rules.rows import TOKEN_COLUMNS
from ledger.store.base import Reader
from schemas.verbs.exports import PAGE_ROWS

_TOKENS: Final = ", ".join(f"u.{name}" for name in TOKEN_COLUMNS.values())
_SINCE: Final = (
    "(SELECT COALESCE(SUM(CASE WHEN t.credit = 'revenue' THEN t.amount_nano ELSE -t.amount_nano END), 0) "
    "FROM transfers t WHERE t.request_id = u.request_id AND t.kind = '{kind}' AND t.created_ms >= $5)"
)
CHARGED_SINCE: Final = _SINCE.format(kind="charge")
REFUNDED_SINCE: Final = f"-{_SINCE.format(kind='refund')}"
UNCOLLECTED_SINCE: Final = _SINCE.format(kind="uncollected")
FROM: Final = (
    "FROM usage u LEFT JOIN api_keys k ON k.id = u.key_id LEFT JOIN holds h ON h.request_id = u.request_id "
    "LEFT JOIN candidates c ON c.request_id = h.request_id AND c.place = h.candidate "
    "WHERE u.seq > $1 AND u.seq <= $2 AND u.slot = 0 AND u.created_ms >= $3 AND u.created_ms < $4 "
)
TERMS: Final = "COALESCE(c.price_ref, h.price_ref, ''), COALESCE(c.rate, h.rate, '')"
NEWEST_SQL: Final = "SELECT COALESCE(MAX(seq), 0) FROM usage"
_PAGE_SQL: Final = (
    f"SELECT u.seq, u.created_ms, u.request_id, COALESCE(k.profile, ''), u.key_id, u.model, u.provider, u.pool, "
    f"u.outcome, u.known, u.attempt, {TERMS}, {_TOKENS}, u.list_nano, u.billed_nano - {CHARGED_SINCE}, "
    f"u.refunded_nano - {REFUNDED_SINCE}, u.uncollected_nano - {UNCOLLECTED_SINCE}, u.queued_ms, u.first_byte_ms, "
    f"u.duration_ms {FROM} AND ($6 = '' OR k.profile = $6) ORDER BY u.seq LIMIT $7"
)
_BILLED: Final = 13 + len(TOKEN_COLUMNS) + 1


async def page(reader: Reader, asked: Asked, place: Sequence[str | int]) -> Page:
    """A page of calls."""
    begin = int(place[0]) if place else 0
    end = begin + SCANNED
    found = await reader.fetch(
        _PAGE_SQL, begin, end, asked.since_ms, asked.until_ms, asked.moment_ms, asked.organization, PAGE_ROWS
    )
    size, rows, last = Size(), list[list[Any]](), begin
    for call in found:
        row = _row(call)
        if not size.takes([row]):
            return Page(rows, (last,))
        rows.append(row)
        last = int(call[0])
    return Page(rows, await following(reader, found, end))


async def following(reader: Reader, found: Sequence[Sequence[Any]], end: int) -> tuple[int, ...] | None:
    """Where the page after one that took all it found begins, by the number of a row of usage."""
    if len(found) == PAGE_ROWS:
        return (int(found[-1][0]),)
    (newest,) = await reader.fetch(NEWEST_SQL)
    return (end,) if end < int(newest[0]) else None


def _row(call: Sequence[Any]) -> list[Any]:
    """A call as it is sent: with what it came to after its refunds."""
    billed, refunded = int(call[_BILLED]), int(call[_BILLED + 1])
    return [
        *call[1:_BILLED],
        billed,
        refunded,
        billed - refunded,
        int(call[_BILLED + 2]),
        *call[_BILLED + 3 :],
    ]
