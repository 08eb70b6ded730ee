"""Owns the reads of pools through a console: what lives, with our cost today and this month (UTC)."""

from datetime import UTC, datetime
from typing import Any

from ledger.rollups.reading import sums
from ledger.rollups.sql import HOUR_MS, Rollup
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.rollup_rows import UsageTotal
from ledger.verbs.admin.base import Reading
from ledger.verbs.base import Services
from ledger.verbs.pools import all_pools
from schemas.admin import reads
from schemas.admin.reads import PoolRef
from schemas.verbs.base import Rows
from schemas.verbs.pools import PoolsQuery

_TOTALS = Rollup(UsageTotal)


async def _costs(services: Services, since: datetime) -> dict[str, int]:
    hour = int(since.timestamp() * 1000) // HOUR_MS
    rows = await sums(services.store, _TOTALS, ("pool",), f"hour >= {hour}")
    return {row["pool"]: row["cost_nano"] for row in rows}


async def _pools(services: Services, _grant: Grant, query: PoolsQuery) -> Rows:
    now = datetime.fromtimestamp(services.store.now_ms() / 1000, UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    day, month = await _costs(services, today), await _costs(services, today.replace(day=1))
    pools = (await all_pools(services, query)).rows
    return Rows(tuple(_shown(pool, day, month) for pool in pools))


def _shown(pool: dict[str, Any], day: dict[str, int], month: dict[str, int]) -> dict[str, Any]:
    name = pool["name"]
    costs = {"cost_today_nano": day.get(name, 0), "cost_month_nano": month.get(name, 0)}
    return {"object": "pool", "id": name, **pool, **costs}


async def _pool(services: Services, grant: Grant, form: PoolRef) -> Rows:
    rows = [row for row in (await _pools(services, grant, PoolsQuery())).rows if row["name"] == form.name]
    return Rows(tuple(rows)) if rows else missing("such pool")


POOLS = Reading(question=reads.POOLS, answer=_pools)
POOL = Reading(question=reads.POOL, answer=_pool)
