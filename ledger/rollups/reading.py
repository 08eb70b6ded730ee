"""Owns how sums are read: what is rolled up, and with it the calls that are not yet, so that no figure is behind."""

from collections.abc import Sequence
from typing import Any, Final

from ledger.rollups.sql import CALLS, ROLLED, Rollup
from ledger.rules.rollup_rows import SUMS
from ledger.store.base import Reader, Store

# PostgreSQL plans for a third of all rows beyond a number that it does not know yet, and for few of them between two.
FRESH: Final = f"u.seq > ({ROLLED}) AND u.seq < {2**62}"


async def sums(
    reader: Reader | Store,
    rollup: Rollup,
    by: Sequence[str],
    where: str,
    *parameters: Any,
    figures: Sequence[str] = tuple(SUMS),
    first: str = "",
    page: str = "",
) -> list[dict[str, Any]]:
    """The sums of a table by some columns of its key, of the rows that meet a condition on its key, in their order.

    `where` has the parameters; `figures` are those of SUMS that are wanted; `first` is what they are ordered by before that, `page` a limit and an offset, in SQL.
    """
    key = rollup.kind.KEY
    of = dict(zip(key, rollup.values("u.created_ms"), strict=True))
    fresh = ", ".join(
        (*(f"{of[name]} AS {name}" for name in key), *(f"{SUMS[name]} AS {name}" for name in figures))
    )
    columns = ", ".join((*key, *figures))
    named = "".join(f"{name}, " for name in by)
    made = ", ".join(f"SUM({name}) AS {name}" for name in figures)
    named_only = ", ".join(by)
    order = f"{first}, {named_only}" if first else named_only
    grouped = f"GROUP BY {named_only} ORDER BY {order} {page}" if by else ""
    # The condition stands in both parts: SQLite would not move one with a list of keys there by itself.
    rows = await reader.fetch(
        f"SELECT {named}{made} FROM (SELECT {columns} FROM {rollup.name} WHERE {where} UNION ALL "  # noqa: S608  made of our own column names
        f"SELECT {columns} FROM (SELECT {fresh} FROM {CALLS} WHERE {FRESH}) AS fresh WHERE {where}) AS used {grouped}",
        *parameters,
    )
    names = (*by, *figures)
    return [
        {name: value if name in by else int(value or 0) for name, value in zip(names, row, strict=True)}
        for row in rows
    ]
