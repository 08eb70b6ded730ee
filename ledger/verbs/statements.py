"""Owns the answers about statements: one with its lines, a page of them, and the issue of one."""

from ledger.rules.missing import missing
from ledger.rules.rows import row_of
from ledger.rules.statement_rows import ISSUED, Statement
from ledger.statements import making
from ledger.statements.issuing import By
from ledger.statements.making import shown
from ledger.statements.months import Month, month_named
from ledger.store.base import Reader
from ledger.store.statements import STATEMENTS as TABLE
from ledger.store.statements import columns
from ledger.verbs.base import Read, Services
from runtime.settings.billing import BillingSettings
from schemas.verbs import statements as verbs
from schemas.verbs.base import Rows
from schemas.verbs.statements import LINES_MAX, LIST_MAX, StatementIssue, StatementList, StatementQuery

ACTOR_CHARS_MAX = 200
_PAGE_SQL = (
    f"SELECT {columns(TABLE)} FROM statements WHERE ($1 = '' OR organization = $1) "  # noqa: S608  made of our own column names
    "AND ($2 = '' OR period < $2 OR (period = $2 AND organization > $3)) "
    "ORDER BY period DESC, organization LIMIT $4"
)


async def _statement(services: Services, query: StatementQuery) -> Rows:
    billing = services.issuing.billing
    month = month_named(query.period, billing.statement_timezone)
    if month is None:
        return Rows(problem="name a month, as in 2026-11")
    now_ms = services.store.now_ms()
    if month.start_ms > now_ms:
        return Rows(problem=f"{month.name} has not begun")
    async with services.store.snapshot() as reader:
        return await found(reader, query, month, billing, now_ms)


async def found(
    reader: Reader, query: StatementQuery, month: Month, billing: BillingSettings, now_ms: int
) -> Rows:
    """A month's statement with a page of its lines. Raises StoreError."""
    limit, after = min(max(query.limit, 1), LINES_MAX), max(query.after, 0)
    known = await making.stored(reader, month.id_of(query.organization))
    if known is not None and known.status == ISSUED:
        lines = await making.lines_of(reader, known.id, after, limit + 1)
        statement = known
    else:
        made = await making.make(reader, query.organization, month, billing, now_ms)
        if made is None:
            return missing(f"organisation {query.organization}")
        statement, lines = made.statement, made.lines[after : after + limit + 1]
    more = len(lines) > limit
    return Rows((shown(statement, lines[:limit]),), cursor=after + limit if more else 0)


async def page_of(reader: Reader, organization: str, before: tuple[str, str], limit: int) -> list[Statement]:
    """Statements that are in the books, newest month first, after a month and organisation. Raises StoreError."""
    rows = await reader.fetch(_PAGE_SQL, organization, *before, limit)
    return [row_of(Statement, row) for row in rows]


async def _list(services: Services, query: StatementList) -> Rows:
    limit = min(max(query.limit, 1), LIST_MAX)
    period, _, organization = query.before.partition(":")
    page = await page_of(services.store, query.organization, (period, organization), limit)
    full = len(page) == limit
    return Rows(
        tuple(shown(one) for one in page), cursor=f"{page[-1].period}:{page[-1].organization}" if full else ""
    )


async def _issue(services: Services, form: StatementIssue) -> Rows:
    if len(form.actor) > ACTOR_CHARS_MAX or "\x00" in form.actor:
        return Rows(problem=f"an actor's name has at most {ACTOR_CHARS_MAX} characters")
    return await services.issuing.issue(form.organization, form.period, By(actor=form.actor))


STATEMENT = Read(verb=verbs.STATEMENT, answer=_statement)
STATEMENTS = Read(verb=verbs.STATEMENTS, answer=_list)
STATEMENT_ISSUE = Read(verb=verbs.STATEMENT_ISSUE, answer=_issue)
