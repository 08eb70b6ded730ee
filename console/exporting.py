"""Owns how an export becomes a file: begun by an act, read page by page as of one moment, written as CSV."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from msgspec import structs

from console.pieces import Places
from runtime.ledger import LedgerAwayError, Patience
from schemas.exports import CSVS
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.exports import ExportBegin, ExportQuery

ACT: Final = "export"
PATIENCE: Final = Patience(total_s=60.0, try_s=30.0, pause_s=0.2)  # for a page, which any ledger can answer
WAITS_MAX: Final = 30  # answers of a ledger that waits for what had begun before the export's moment
Begin = Callable[[ExportBegin], Awaitable[Any]]
Read = Callable[[ExportQuery], Awaitable[Rows]]


async def export(
    query: ExportQuery, begin: Begin, read: Read, places: Places, credential: bytes
) -> AsyncGenerator[str, None]:
    """The lines of an export, a page at a time.

    Raises BusyError for a credential that has as many under way as it may, LedgerAwayError, and what `begin` and `read`
    raise for a refusal: a right that ends ends the export, too.
    """
    with places.one(credential):
        await begin(ExportBegin(VERSION, query.name, query.since_ms, query.until_ms, query.organization))
        made, waits = CSVS[query.name](), 0
        told = made.head()
        while True:
            answer = await read(query)
            if told := told + made.lines(answer.rows[0]["rows"]):
                yield told
            if not answer.cursor:
                break
            waits = waits + 1 if answer.cursor == query.cursor else 0
            if waits > WAITS_MAX:
                raise LedgerAwayError("what had begun before the export does not end")
            query, told = structs.replace(query, cursor=str(answer.cursor)), ""
        yield made.tail()
