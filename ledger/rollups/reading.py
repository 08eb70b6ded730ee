"""Owns how sums are read: what is rolled up, and with it the calls that are not yet, so that no figure is behind."""

from collections.abc import Sequence
from typing import Any, Final

from ledger.rollups.sql import CALLS, ROLLED, Rollup
from ledger.rules.rollup_rows import SUMS
from ledger.store.base import Reader, Store

# PostgreSQL plans for a third of all rows beyond a number that it does not know yet, and for few of them between two.
_FRESH: Final = f"u.seq > ({ROLLED}) AND u.seq < {2**62}"


async def sums(
    reader: Reader | Store, rollup: Rollup, by: Sequence[str], where: str, *parameters: Any, page: str = ""
) -> list[dict[str, Any]]:
    """The sums of a table by some columns of its key, of the rows that meet a condition on its key, in their order.

    `where` has the parameters; `page` is a limit and an offset in SQL.
    """
    key = rollup.kind.KEY
    of = dict(zip(key, rollup.values("u.created_ms"), strict=True))
    fresh = ", ".join((*(f"{of[name]} AS {name}" for name in key), *(f"{v} AS {n}" for n, v in SUMS.items())))
    named = "".join(f"{name}, " for name in by)
    made = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    grouped = f"GROUP BY {', '.join(by)} ORDER BY {', '.join(by)} {page}" if by else ""
    rows = await reader.fetch(
        f"SELECT {named}{made} FROM (SELECT {', '.join((*key, *SUMS))} FROM {rollup.name} "  # noqa: S608  made of our own column names
        f"UNION ALL SELECT {fresh} FROM {CALLS} WHERE {_FRESH}) AS used WHERE {where} {grouped}",
        *parameters,
    )
    names = (*by, *SUMS)
    return [
        {name: value if name in by else int(value or 0) for name, value in zip(names, row, strict=True)}
        for row in rows
    ]
