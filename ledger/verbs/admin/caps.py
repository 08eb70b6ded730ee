"""Owns the reads of spend caps through a console: pages of those in force, and one."""

from typing import Any

from ledger.rules import capping as rules
from ledger.rules.grants import Grant
from ledger.rules.limits.base import KEY, key_scope, organization_scope
from ledger.rules.limits.caps import current_id, first_seen
from ledger.rules.missing import missing
from ledger.rules.rows import Cap, CapPeriod, row_of
from ledger.store.base import Store
from ledger.store.statements import columns, table_of
from ledger.verbs.admin.base import Reading, Where, bound, newest, one
from ledger.verbs.admin.keys import visible
from ledger.verbs.base import Services
from schemas.admin import reads
from schemas.admin.reads import CapRef, CapsQuery
from schemas.verbs.base import Rows

_PERIODS_SQL = f"SELECT {columns(table_of(CapPeriod))} FROM cap_periods WHERE id "  # noqa: S608  made of our own column names
_OF_ORGANIZATION = "(r.scope = {} OR r.scope IN (SELECT 'key:' || id FROM api_keys WHERE profile = {}))"


async def shown(store: Store, caps: list[Cap]) -> tuple[dict[str, Any], ...]:
    """Caps as the console shows them, with their current periods."""
    now_ms = store.now_ms()
    ids = {current_id(cap, now_ms) for cap in caps if not cap.ended_ms}
    rows = await store.fetch(_PERIODS_SQL + store.among, store.array(ids))
    periods = {row[0]: row_of(CapPeriod, row) for row in rows}
    return tuple(
        rules.listed(
            cap,
            None if cap.ended_ms else periods.get(current_id(cap, now_ms)) or first_seen(cap, now_ms),
            now_ms,
        )
        | {"object": "cap"}
        for cap in caps
    )


async def _caps(services: Services, grant: Grant, query: CapsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    where = Where()
    where.add("r.ended_ms = 0")
    if grant.organization:
        where.add(_OF_ORGANIZATION, organization_scope(grant.organization), grant.organization)
    if query.organization:
        where.add("r.scope = {}", organization_scope(query.organization))
    if query.key:
        where.add("r.scope = {}", key_scope(query.key))
    found = await newest(services.store, Cap, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    return Rows(await shown(services.store, found[0]), cursor=found[1])


async def _may_see(store: Store, grant: Grant, cap: Cap) -> bool:
    if not grant.organization:
        return True
    if cap.scope.startswith(KEY):
        return await visible(store, grant, cap.scope.removeprefix(KEY)) is not None
    return cap.scope == organization_scope(grant.organization)


async def _cap(services: Services, grant: Grant, form: CapRef) -> Rows:
    cap = await one(services.store, Cap, form.id)
    if cap is None or not await _may_see(services.store, grant, cap):
        return missing("such cap")
    return Rows(await shown(services.store, [cap]))


CAPS = Reading(question=reads.CAPS, answer=_caps)
CAP = Reading(question=reads.CAP, answer=_cap)
