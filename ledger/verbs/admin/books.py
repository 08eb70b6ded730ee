"""Owns the reads of the books themselves through a console: their proof, events put aside, and the audit log."""

import time
from typing import Any

from ledger.rules.act_rows import Entry
from ledger.rules.authority_rows import ManagementKey, Operator
from ledger.rules.grants import Grant, GrantKind
from ledger.rules.rows import Row
from ledger.store.base import Store
from ledger.verbs.acts import entry_row
from ledger.verbs.admin.base import Reading, Where, newest
from ledger.verbs.audit import prove
from ledger.verbs.base import Services
from ledger.verbs.parked import parked
from schemas.admin import reads
from schemas.admin.reads import AuditEntriesQuery
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import Rows
from schemas.verbs.parked import ParkedQuery

PROOF_S = 60.0  # how old a proof may be that is not made anew
_NAMED: dict[str, type[Row]] = {GrantKind.OPERATOR: Operator, GrantKind.MANAGEMENT_KEY: ManagementKey}


async def _prove(services: Services, _grant: Grant, query: AuditQuery) -> Rows:
    answer = await prove(services, query)
    (row,) = answer.rows
    made = Rows(({"object": "books", **row, "proven_at": services.store.now_ms() // 1000},))
    services.proven[:] = [(time.monotonic(), made)]
    return made


async def _books(services: Services, grant: Grant, query: AuditQuery) -> Rows:
    for at, answer in services.proven:
        if time.monotonic() - at < PROOF_S:
            return answer
    return await _prove(services, grant, query)


async def _parked(services: Services, _grant: Grant, query: ParkedQuery) -> Rows:
    return await parked(services.store, query)


async def _entries(services: Services, _grant: Grant, query: AuditEntriesQuery) -> Rows:
    where = Where()
    if query.actor:  # by an id alone, too
        kinds = (GrantKind.OPERATOR, GrantKind.MANAGEMENT_KEY, GrantKind.COMMAND)
        named = [query.actor, *(f"{kind}:{query.actor}" for kind in kinds)]
        where.add(f"r.actor IN ({', '.join(['{}'] * len(named))})", *named)
    for column, value in (("action", query.action), ("target", query.target)):
        if value:
            where.add(f"r.{column} = {{}}", value)
    if query.from_s:
        where.add("r.created_ms >= {}", query.from_s * 1000)
    if query.to_s:
        where.add("r.created_ms < {}", query.to_s * 1000)
    found = await newest(services.store, Entry, where, limit=query.limit, after=query.after, by="number")
    if isinstance(found, Rows):
        return found
    entries, cursor = found
    names = await _names(services.store, {entry.actor for entry in entries})
    return Rows(tuple(_shown(entry, names) for entry in entries), cursor=cursor)


async def _names(store: Store, actors: set[str]) -> dict[str, str]:
    """What operators and management keys are called, by the actor's word."""
    found: dict[str, str] = {}
    for kind, rows in _NAMED.items():
        ids = {actor.partition(":")[2] for actor in actors if actor.startswith(f"{kind}:")}
        if ids:
            sql = f"SELECT id, name FROM {rows.TABLE} WHERE id {store.among}"  # noqa: S608  our own words
            found |= {f"{kind}:{row[0]}": row[1] for row in await store.fetch(sql, store.array(ids))}
    return found


def _shown(entry: Entry, names: dict[str, str]) -> dict[str, Any]:
    kind, colon, id_ = entry.actor.partition(":")
    actor = {
        "type": kind if colon or kind == "system" else "cli",
        "id": id_ if colon else entry.actor,
        "name": names.get(entry.actor, id_ if colon else entry.actor),
    }
    return entry_row(entry) | {"object": "audit_entry", "actor": actor}


BOOKS = Reading(question=reads.BOOKS, answer=_books)
BOOKS_AUDIT = Reading(question=reads.BOOKS_AUDIT, answer=_prove)
PARKED = Reading(question=reads.PARKED, answer=_parked)
AUDIT_ENTRIES = Reading(question=reads.AUDIT_ENTRIES, answer=_entries)
