"""Owns what tests of exports share: an export to its end, page by page, with whatever happens between two of them."""

import csv
import io
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from ledger.verbs.exports import EXPORT
from schemas.exports import CSVS
from schemas.verbs.exports import ExportQuery
from tests.ledger.monthly import Monthly


async def _nothing() -> None:
    """Nothing happens."""


async def export(
    monthly: Monthly, name: str, between: Callable[[], Awaitable[None]] = _nothing, **fields: Any
) -> str:
    """The file."""
    made = CSVS[name]()
    text, cursor = made.head(), ""
    while True:
        services: Any = monthly
        reply = await EXPORT.answer(services, ExportQuery(name=name, cursor=cursor, **fields))
        assert not reply.problem, reply.problem
        text += made.lines(reply.rows[0]["rows"])
        cursor = str(reply.cursor or "")
        if not cursor:
            return text + made.tail()
        await between()


def table(text: str) -> list[dict[str, str]]:
    """Its rows, without the comment."""
    return list(csv.DictReader(io.StringIO("".join(text.splitlines(keepends=True)[: _lines(text)]))))


def _lines(text: str) -> int:
    lines = text.splitlines()
    return len(lines) - (1 if lines[-1].startswith("# ") else 0)


def balances(journal: list[dict[str, str]]) -> dict[str, int]:
    """What the transfers of a journal make of each account."""
    found: dict[str, int] = {}
    for row in journal:
        nano = int(row["amount_nano"])
        found[row["debit"]] = found.get(row["debit"], 0) - nano
        found[row["credit"]] = found.get(row["credit"], 0) + nano
    return found


def cost_nano(focus: list[dict[str, str]]) -> int:
    """All that FOCUS rows bill, in nano-dollars: exact, or it fails."""
    total = sum((Decimal(row["BilledCost"]) for row in focus), Decimal(0)) * 10**9
    assert total == int(total)
    return int(total)
