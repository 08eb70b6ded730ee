"""Owns statements through a console: the months of an organisation, one with its lines, and the issue of one."""

import msgspec

from ledger.commits.load_grant import load_grant
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.statement_rows import Statement
from ledger.statements import making
from ledger.statements.issuing import By, beyond
from ledger.statements.making import shown
from ledger.statements.months import Month, month_named, named_by
from ledger.store.base import Reader
from ledger.verbs.admin.base import NO_SUCH_START, Reading, bound, size_of
from ledger.verbs.base import Read, Services
from ledger.verbs.statements import found, page_of
from schemas.admin import reads, verbs
from schemas.admin.reads import StatementRef, StatementsQuery
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.base import Rows
from schemas.verbs.statements import StatementQuery

DRAFTS_MAX = 12  # of one list: each is made of sums
_MISSING = missing("such statement")
_decode = msgspec.msgpack.Decoder(StatementRef).decode


async def _list(services: Services, grant: Grant, query: StatementsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    after = named_by(query.after) if query.after else ("", "")
    if after is None:
        return NO_SUCH_START
    before, size = (after[1], after[0]), size_of(query.limit)
    async with services.store.snapshot() as reader:
        page = await page_of(reader, organization, before, size + 1)
        if organization:
            page = [*await _drafts(services, reader, organization, before[0]), *page]
    cursor = page[size - 1].id if len(page) > size else ""
    return Rows(tuple(shown(one) for one in page[:size]), cursor=cursor)


async def _drafts(services: Services, reader: Reader, organization: str, before: str) -> list[Statement]:
    """The newest months that are not in the books, before one if that is given: as they are now, where there was something."""
    drafts: list[Statement] = []
    for month in (await services.issuing.open_months(reader, organization))[:DRAFTS_MAX]:
        known = await making.stored(reader, month.id_of(organization))
        if known is not None or (before and month.name >= before):
            continue
        made = await making.brief(
            reader, organization, month, services.issuing.billing, services.store.now_ms()
        )
        if made is not None:
            drafts.append(made)
    return drafts


def _named(services: Services, id_: str) -> tuple[str, Month] | None:
    """Whose month an id means; None for what is no id, or of a month that has not begun."""
    named = named_by(id_)
    month = named and month_named(named[1], services.issuing.billing.statement_timezone)
    if not named or not month or month.start_ms > services.store.now_ms():
        return None
    return named[0], month


async def _one(services: Services, grant: Grant, ref: StatementRef) -> Rows:
    named = _named(services, ref.id)
    if named is None or bound(grant, named[0]) is None:
        return _MISSING
    organization, month = named
    query = StatementQuery(
        organization=organization, period=month.name, after=ref.after_line, limit=ref.limit
    )
    async with services.store.snapshot() as reader:
        return await found(reader, query, month, services.issuing.billing, services.store.now_ms())


async def _issue(services: Services, request: ConsoleWrite) -> Rows:
    store = services.store
    digests = services.committer.digests(request.credential.digest)
    # Looked at again in the commit: here it keeps strangers from having a month made.
    known = await load_grant(store, request.credential, digests, store.now_ms())
    if isinstance(known, Rows):
        return known
    try:
        named = named_by(_decode(request.form).id)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Rows(problem=f"the request cannot be read: {error}"[:300])
    organization, period = named or ("", "")
    if refused := beyond(known.grant, organization):
        return refused
    if not named:
        return _MISSING
    return await services.issuing.issue(organization, period, By(console=request, digests=digests))


STATEMENTS = Reading(question=reads.STATEMENTS, answer=_list)
STATEMENT = Reading(question=reads.STATEMENT, answer=_one)
CONSOLE_ISSUE = Read(verb=verbs.CONSOLE_ISSUE, answer=_issue)
