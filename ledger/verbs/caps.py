"""Owns the answers about spend caps: the acts that change them, and how caps are listed."""

from ledger.acts import caps as acts
from ledger.rules import capping as rules
from ledger.rules.limits.base import key_scope, organization_scope
from ledger.rules.limits.caps import current_id, first_seen
from ledger.rules.rows import Cap, CapPeriod, row_of
from ledger.store.base import Store
from ledger.store.statements import columns, table_of
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts, Read
from ledger.verbs.keys import PAGE_MAX
from schemas.verbs import caps as verbs
from schemas.verbs.base import Rows
from schemas.verbs.caps import CapList

_CAPS_SQL = f"SELECT {columns(table_of(Cap))} FROM caps WHERE ended_ms = 0 AND id > $1"  # noqa: S608  made of our own column names
_PERIOD_SQL = f"SELECT {columns(table_of(CapPeriod))} FROM cap_periods WHERE id = $1"  # noqa: S608  as above


async def cap_list(store: Store, query: CapList) -> Rows:
    """A page of caps in force with their current periods, oldest first."""
    limit, now_ms = min(max(query.limit, 1), PAGE_MAX), store.now_ms()
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


CAP_CREATE = Acts(verb=verbs.CAP_CREATE, command=by_itself(acts.CAP_CREATE))
CAP_UPDATE = Acts(verb=verbs.CAP_UPDATE, command=by_itself(acts.CAP_UPDATE))
CAP_END = Acts(verb=verbs.CAP_END, command=by_itself(acts.CAP_END))
CAP_LIST = Read(verb=verbs.CAP_LIST, answer=lambda services, request: cap_list(services.store, request))
