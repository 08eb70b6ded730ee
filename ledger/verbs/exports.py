"""Owns the answer to an export: the next page of it, in its phases, as the books were at its moment."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from msgspec import structs

from ledger.exports import asked as questions
from ledger.exports import calls, focus, journal
from ledger.exports.asked import Asked, Cursor, Page
from ledger.store.base import Reader
from ledger.verbs.base import Read, Services
from runtime.settings.billing import BillingSettings
from schemas.verbs import exports as verbs
from schemas.verbs.base import Rows
from schemas.verbs.exports import CALLS, EXPORTS, FOCUS, JOURNAL, ExportQuery

Phase = Callable[[Reader, Asked, Sequence[str | int]], Awaitable[Page]]


def _phases(name: str, billing: BillingSettings) -> Mapping[str, Phase]:
    """The phases of an export, in their order."""
    if name == FOCUS:
        return focus.phases(billing)
    return {JOURNAL: journal.page} if name == JOURNAL else {CALLS: calls.page}


async def export_page(services: Services, query: ExportQuery) -> Rows:
    """The next page of an export. Raises StoreError."""
    if query.name not in EXPORTS:
        return Rows(problem=f"exports are {', '.join(EXPORTS)}")
    try:
        cursor = questions.read(query.cursor) if query.cursor else await questions.begin(services.store)
    except msgspec.MsgspecError:
        return Rows(problem="that is no cursor of an export")
    if not cursor.settled:
        if not await questions.settled(services.store, cursor):
            return Rows(({"rows": []},), cursor=questions.written(cursor))
        cursor = structs.replace(cursor, settled=True)
    phases = _phases(query.name, services.issuing.billing)
    phase = cursor.phase or next(iter(phases))
    if phase not in phases:
        return Rows(problem="that is a cursor of another export")
    async with services.store.snapshot() as reader:
        page = await phases[phase](reader, questions.asked(query, cursor), cursor.place)
    following = _following(cursor, list(phases), phase, page)
    return Rows(({"rows": page.rows},), cursor=questions.written(following) if following else "")


def _following(cursor: Cursor, phases: list[str], phase: str, page: Page) -> Cursor | None:
    if page.place is not None:
        return structs.replace(cursor, phase=phase, place=page.place)
    rest = phases[phases.index(phase) + 1 :]
    return structs.replace(cursor, phase=rest[0], place=()) if rest else None


EXPORT = Read(verb=verbs.EXPORT, answer=export_page)
