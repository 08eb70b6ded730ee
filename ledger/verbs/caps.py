"""Owns the answers about spend caps: which rows each change needs, and how caps are listed."""

import time

from ledger.commits.commands import Write
from ledger.commits.load_save import Capping, Wanted
from ledger.rules import capping as rules
from ledger.rules.limits.base import key_scope, organization_scope
from ledger.rules.limits.caps import current_id, first_seen
from ledger.rules.rows import Cap, CapPeriod, row_of
from ledger.store.base import Store
from ledger.store.statements import columns, table_of
from ledger.verbs.base import Read
from ledger.verbs.keys import PAGE_MAX
from schemas.verbs import caps as verbs
from schemas.verbs.base import Rows
from schemas.verbs.caps import CapCreate, CapEnd, CapList, CapUpdate

_CAPS_SQL = f"SELECT {columns(table_of(Cap))} FROM caps WHERE ended_ms = 0 AND id > $1"  # noqa: S608  made of our own column names
_PERIOD_SQL = f"SELECT {columns(table_of(CapPeriod))} FROM cap_periods WHERE id = $1"  # noqa: S608  as above


def _create_wants(names: Wanted, request: CapCreate, _digest: str) -> None:
    scope = rules.scope_of(request)
    if not scope or rules.problem_of(request.cap):
        return
    if request.key_id:
        names.key_ids.add(request.key_id)
    else:
        names.profiles.add(request.organization)
    names.capping.append(Capping(request.cap.cap_id, scope, request.cap.period, request.cap.zone))


def _update_wants(names: Wanted, request: CapUpdate, _digest: str) -> None:
    names.capping.append(Capping(request.cap_id))


def _end_wants(names: Wanted, request: CapEnd, _digest: str) -> None:
    names.capping.append(Capping(request.cap_id, ends=True))


async def cap_list(store: Store, query: CapList, now_ms: int) -> Rows:
    """A page of caps in force with their current periods, oldest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    scope = key_scope(query.key_id) if query.key_id else ""
    scope = organization_scope(query.organization) if query.organization else scope
    where, values = (" AND scope = $2", (scope,)) if scope else ("", ())
    sql = f"{_CAPS_SQL}{where} ORDER BY id LIMIT {limit}"
    found = [row_of(Cap, row) for row in await store.fetch(sql, query.after, *values)]
    rows: list[dict[str, object]] = []
    for cap in found:
        periods = await store.fetch(_PERIOD_SQL, current_id(cap, now_ms))
        period = row_of(CapPeriod, periods[0]) if periods else first_seen(cap, now_ms)
        rows.append(rules.listed(cap, period, now_ms))
    return Rows(tuple(rows), cursor=found[-1].id if len(found) == limit else "")


CAP_CREATE = Write(
    verb=verbs.CAP_CREATE,
    wants=_create_wants,
    answer=lambda book, request, _digest: rules.create(book, request),
    alone=True,
)
CAP_UPDATE = Write(
    verb=verbs.CAP_UPDATE,
    wants=_update_wants,
    answer=lambda book, request, _digest: rules.update(book, request),
    alone=True,
)
CAP_END = Write(
    verb=verbs.CAP_END,
    wants=_end_wants,
    answer=lambda book, request, _digest: rules.end(book, request),
    alone=True,
)
CAP_LIST = Read(
    verb=verbs.CAP_LIST,
    answer=lambda services, request: cap_list(services.store, request, time.time_ns() // 1_000_000),
)
