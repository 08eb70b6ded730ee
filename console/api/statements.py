"""Owns the routes of monthly statements: those that there are, one as JSON, a page that prints or CSV, and its issue."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from console.api.accept import CSV, HTML
from console.api.base import Call, Route, shaped
from console.api.errors import ApiError
from console.api.fields import Page, PageQuery, Query, Text
from console.pieces import Pieces
from console.statements import ChangedError, csv_of, sheet_of
from schemas.admin import reads
from schemas.admin.reads import StatementRef, StatementsQuery
from schemas.admin.reasons import Reason
from schemas.admin.verbs import STATEMENT_ISSUE
from schemas.verbs.base import VERSION, Rows


class Seller(Struct, frozen=True, kw_only=True):
    """Who issues it."""

    name: str
    address: str
    tax_id: str
    footer: str


class Buyer(Struct, frozen=True, kw_only=True):
    """Whom it is issued to."""

    name: str
    email: str


class StatementLine(Struct, frozen=True, kw_only=True):
    """What acts of one kind did, or what calls of one key with one model came to: as the balance sees it."""

    kind: str
    key: str | None
    model: str | None
    calls: int
    tokens: int
    list_nano: int
    amount_nano: int


class Statement(Struct, frozen=True, kw_only=True):
    """What one month did to all accounts of an organisation: a draft, or issued under a number for good.

    `problem` says why it cannot be issued, null if it can.
    """

    object: Literal["statement"] = "statement"
    id: str
    organization: str
    period: str
    timezone: str
    starts_at: int
    ends_at: int
    status: Literal["draft", "issued"]
    number: str | None
    problem: str | None
    opening_nano: int
    closing_nano: int
    seller: Seller
    buyer: Buyer
    created: int


class WholeStatement(Statement, frozen=True, kw_only=True):
    """A statement with a page of its lines: the closing is the opening plus all of them."""

    lines: tuple[StatementLine, ...]
    has_more: bool
    next: str | None


class StatementsFilter(PageQuery, frozen=True, kw_only=True):
    """Whose. Of one organisation the month that runs is there as a draft, as are those of the last year that are not issued."""

    organization: Text = ""


class LinesQuery(Query, frozen=True, kw_only=True):
    """Which lines, in JSON; a page and CSV have all of them."""

    starting_after: Annotated[
        str, Meta(pattern=r"^[0-9]{0,9}$", description="`next` of the page before.")
    ] = ""


async def _list(call: Call) -> Page[Statement]:
    query: StatementsFilter = call.query
    form = StatementsQuery(VERSION, query.limit, query.starting_after, query.organization)
    return await call.page(reads.STATEMENTS, form, Statement)


async def _show(call: Call) -> Any:
    id_, query = call.path["id"], call.query

    async def read(ref: StatementRef) -> Rows:
        return await call.read(reads.STATEMENT, ref)

    try:
        if call.accept == CSV:
            return await Pieces.begun(csv_of(id_, read), f"{id_}.csv")
        if call.accept == HTML:
            sheet = await sheet_of(id_, read)
            return Response(sheet.page(call.means.pages, alone=True), media_type=HTML)
    except ChangedError as error:
        message = str(error)
        raise ApiError(409, "statement_changed", f"{message[:1].upper()}{message[1:]}.") from None
    answer = await read(StatementRef(VERSION, id_, int(query.starting_after or 0)))
    more = str(answer.cursor) if answer.cursor else None
    return shaped({**answer.rows[0], "has_more": bool(more), "next": more}, WholeStatement)


async def _issue(call: Call) -> Statement:
    return shaped(await call.act(STATEMENT_ISSUE, StatementRef(VERSION, call.path["id"])), Statement)


STATEMENTS = (
    Route(
        method="GET",
        path="/statements",
        summary="List monthly statements",
        what="statement",
        scope="money:read",
        query=StatementsFilter,
        answer=Page[Statement],
        handle=_list,
    ),
    Route(
        method="GET",
        path="/statements/{id}",
        summary="Show a statement: as JSON, a page that prints, or CSV",
        what="statement",
        scope="money:read",
        query=LinesQuery,
        answer=WholeStatement,
        kinds=(HTML, CSV),
        handle=_show,
    ),
    Route(
        method="POST",
        path="/statements/{id}/issue",
        summary="Issue the statement of a month that is over, for good",
        what="statement",
        scope="money:write",
        answer=Statement,
        handle=_issue,
        reasons=(Reason.NOT_ISSUABLE, Reason.OLDER_LEDGER),
    ),
)
