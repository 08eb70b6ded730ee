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


async def _costs(services: Services) -> tuple[dict[str, int], dict[str, int]]:
    """Our cost by pool, today and this month."""
    now = datetime.fromtimestamp(services.store.now_ms() / 1000, UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hour, first = (int(since.timestamp() * 1000) // HOUR_MS for since in (today, today.replace(day=1)))
    of_today = f"CASE WHEN hour >= {hour} THEN 1 ELSE 0 END"
    rows = await sums(services.store, _TOTALS, ("pool", of_today), f"hour >= {first}", figures=("cost_nano",))
    day = {row["pool"]: row["cost_nano"] for row in rows if row[of_today]}
    month: dict[str, int] = {}
    for row in rows:
        month[row["pool"]] = month.get(row["pool"], 0) + row["cost_nano"]
    return day, month


async def _pools(services: Services, _grant: Grant, query: PoolsQuery) -> Rows:
    day, month = await _costs(services)
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
