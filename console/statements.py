"""Owns how a whole statement is read through a console, page by page of its lines: what it says adds up, or is not told."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from msgspec import structs

from schemas.admin.reads import StatementRef
from schemas.exports.statement import StatementCsv
from schemas.verbs.base import VERSION, Rows
from web.statement import Sheet

Read = Callable[[StatementRef], Awaitable[Rows]]


class ChangedError(Exception):
    """Something was booked in a month that runs, between two pages of its statement."""

    def __init__(self) -> None:
        super().__init__("this month changed while it was read: ask again")


async def pages(id_: str, read: Read) -> AsyncGenerator[dict[str, Any], None]:
    """A statement with one page of its lines after the other. Raises ChangedError, and what `read` raises."""
    ref, total_nano, were = StatementRef(VERSION, id_), 0, None
    while True:
        answer = await read(ref)
        row = answer.rows[0]
        are = tuple(row[name] for name in ("status", "opening_nano", "closing_nano"))
        total_nano += sum(line["amount_nano"] for line in row["lines"])
        changed = were not in {None, are}
        if changed or (not answer.cursor and row["opening_nano"] + total_nano != row["closing_nano"]):
            raise ChangedError
        yield row
        if not answer.cursor:
            return
        ref, were = structs.replace(ref, after_line=int(answer.cursor)), are


async def csv_of(id_: str, read: Read) -> AsyncGenerator[str, None]:
    """A statement's lines as CSV. Raises ChangedError, and what `read` raises."""
    made: StatementCsv | None = None
    async with aclosing(pages(id_, read)) as rows:
        async for row in rows:
            if made is None:
                made = StatementCsv(row)
                yield made.head()
            if told := made.lines(row["lines"]):
                yield told
    if made is not None:
        yield made.tail()


async def sheet_of(id_: str, read: Read) -> Sheet:
    """A statement as a sheet: its first lines, and the sums of those beyond. Raises ChangedError, and what `read` raises."""
    sheet: Sheet | None = None
    async with aclosing(pages(id_, read)) as rows:
        async for row in rows:
            sheet = sheet or Sheet(row)
            sheet.add(row["lines"])
    assert sheet is not None, "there is a first page"  # noqa: S101  or `read` has raised
    return sheet
