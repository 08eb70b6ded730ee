"""Owns the routes of the books themselves: their proof, and the audit log."""

from typing import Any, Literal

from msgspec import Struct

from console.api.base import Call, Route, shaped
from console.api.fields import Page, PageQuery, Seconds, Text
from runtime.ledger import Patience
from schemas.admin import reads
from schemas.admin.reads import AuditEntriesQuery
from schemas.admin.reasons import Reason
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import VERSION

PROOF = Patience(total_s=600.0, try_s=600.0)  # it reads all of the books
_BOUND = (Reason.ORGANIZATION_FORBIDDEN,)


class Finding(Struct, frozen=True, kw_only=True):
    """What breaks an invariant."""

    invariant: str
    request_id: str
    detail: str


class Books(Struct, frozen=True, kw_only=True):
    """The proof of the books: `ok` without findings. `parked` are events that could not be applied."""

    object: Literal["books"] = "books"
    ok: bool
    findings: tuple[Finding, ...]
    open_holds: int
    parked: int
    calls: int
    expired: int
    estimated: int
    uncollected_nano: int
    streams_lost: int
    applied_seq: int
    proven_at: int


class Actor(Struct, frozen=True, kw_only=True):
    """Who did something."""

    type: str
    id: str
    name: str


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One act. `before` and `after` have of each row that it changed the fields that differ. `hash` chains it to `previous`."""

    object: Literal["audit_entry"] = "audit_entry"
    id: str
    number: int
    actor: Actor
    action: str
    target: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    ip: str | None
    user_agent: str | None
    request_id: str | None
    hash: str
    previous: str
    created: int


class EntryQuery(PageQuery, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Which entries; `actor` is an id, or as an entry has it."""

    actor: Text = ""
    action: Text = ""
    target: Text = ""
    from_: Seconds = 0
    to: Seconds = 0


async def _show(call: Call) -> Books:
    return shaped((await call.read(reads.BOOKS, AuditQuery(), PROOF)).rows[0], Books)


async def _prove(call: Call) -> Books:
    return shaped((await call.read(reads.BOOKS_AUDIT, AuditQuery(), PROOF)).rows[0], Books)


async def _entries(call: Call) -> Page[AuditEntry]:
    query: EntryQuery = call.query
    form = AuditEntriesQuery(
        VERSION,
        query.limit,
        query.starting_after,
        query.actor,
        query.action,
        query.target,
        query.from_,
        query.to,
    )
    return await call.page(reads.AUDIT_ENTRIES, form, AuditEntry)


BOOKS = (
    Route(
        method="GET",
        path="/books",
        summary="Show the proof of the books, at most a minute old",
        what="proof",
        scope="money:read",
        answer=Books,
        handle=_show,
        reasons=_BOUND,
    ),
    Route(
        method="POST",
        path="/books/audit",
        summary="Prove the books now",
        what="proof",
        scope="money:read",
        answer=Books,
        handle=_prove,
        reasons=_BOUND,
    ),
    Route(
        method="GET",
        path="/audit_entries",
        summary="List entries of the audit log",
        what="entry",
        scope="audit:read",
        query=EntryQuery,
        answer=Page[AuditEntry],
        handle=_entries,
        reasons=_BOUND,
    ),
)
