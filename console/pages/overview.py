"""Owns the first page: what was sold today and this month, what it cost, how it went, and what wants a look."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response

from console.pages.site import PageRow
from console.pages.sums import DAY_S, days, hours, largest, percentile, series, short, sums, total
from console.pages.visit import Visit
from runtime.ledger import LedgerAwayError, once
from schemas.admin.reads import (
    BOOKS,
    CALLS,
    CAPS,
    KEY,
    PARKED,
    POOLS,
    WEBHOOK_ENDPOINTS,
    CallsQuery,
    CapsQuery,
)
from schemas.admin.webhooks import EndpointList
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.keys import KeyRef
from schemas.verbs.parked import ParkedQuery
from schemas.verbs.pools import PoolsQuery
from schemas.webhooks import BY_OPERATOR
from web.charts import stacked
from web.figures import usd, usd_about

RECENT_CALLS: Final = 200  # that the times to a first byte are of
FIGURES: Final = ("calls", "failed", "billed_nano", "refunded_nano", "cost_nano")
TOP: Final = 5
BOOKS_S: Final = 0.2  # for the books' word: an audit that runs is not waited for
CAPS_SHOWN: Final = 200
ENDPOINTS_SHOWN: Final = 100


async def show(visit: Visit) -> Response:
    """What `/` shows."""
    if not visit.person.may("usage:read"):
        return visit.page("welcome.html")
    now_s = int(time.time())
    month = datetime.fromtimestamp(now_s, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month_s = int(month.timestamp())
    since_s, names = hours(now_s, 24)
    first = datetime.fromtimestamp(now_s - 29 * DAY_S, UTC)
    first_s = int(first.timestamp()) // DAY_S * DAY_S
    by_hour, by_day, top = await asyncio.gather(
        sums(visit, ("hour", "model"), since_s=since_s, figures=FIGURES),
        sums(visit, ("day", "model"), since_s=min(first_s, month_s), figures=FIGURES),
        largest(visit, TOP, since_s=since_s),
    )
    calls, caps, pools, parked, endpoints, books = await asyncio.gather(
        visit.rows(CALLS, CallsQuery(limit=RECENT_CALLS)),
        visit.rows_if(CAPS, CapsQuery(limit=CAPS_SHOWN)),
        visit.rows_if(POOLS, PoolsQuery()),
        visit.rows_if(PARKED, ParkedQuery(limit=100)),
        visit.rows_if(WEBHOOK_ENDPOINTS, EndpointList(limit=ENDPOINTS_SHOWN)),
        _books(visit),
    )
    day_names = days(first, datetime.fromtimestamp(now_s, UTC))
    waits = [row["first_byte_ms"] for row in calls.rows if row.get("first_byte_ms")]
    return visit.page(
        "overview.html",
        modules=("live.js",),
        base_url=visit.desk.base_url,
        empty=not calls.rows,
        today=_figures([row for row in by_day if row["start"] >= day_names[-1]]),
        month=_figures([row for row in by_day if row["start"] >= f"{month:%Y-%m-%d}"]),
        p50=percentile(waits, 50),
        p95=percentile(waits, 95),
        books=books,
        hourly=stacked(
            "Billed in the last 24 hours, by model",
            [short(name) for name in names],
            series(by_hour, names, "model", "billed_nano"),
            usd_about,
        ),
        daily=stacked(
            "Billed in the last 30 days, by model",
            [short(name) for name in day_names],
            series(by_day, day_names, "model", "billed_nano"),
            usd_about,
        ),
        top=top,
        names=await _names(visit, top or []),
        alarms=[*_pools(pools), *_caps(caps), *_parked(parked), *_webhooks(endpoints)],
    )


async def _names(visit: Visit, rows: list[dict[str, Any]]) -> dict[str, str]:
    """What the keys of some rows are called."""
    if not visit.person.may(KEY.scope):
        return {}
    found = await asyncio.gather(*(visit.row(KEY, KeyRef(VERSION, row["key"])) for row in rows))
    return {row["id"]: row["name"] for row in found}


async def _books(visit: Visit) -> dict[str, Any] | None:
    """The books' word as far as it is there already; None where it is not, or not this person's."""
    if not visit.person.may(BOOKS.scope, deployment=True):
        return None
    try:
        rows = (await visit.rows(BOOKS, AuditQuery(), patience=once(BOOKS_S))).rows
    except LedgerAwayError:
        return None
    return dict(rows[0]) if rows else None


def _figures(rows: list[dict[str, Any]]) -> dict[str, int]:
    billed = total(rows, "billed_nano") - total(rows, "refunded_nano")
    return {
        "billed": billed,
        "cost": total(rows, "cost_nano"),
        "margin": billed - total(rows, "cost_nano"),
        "calls": total(rows, "calls"),
        "failed": total(rows, "failed"),
    }


def _pools(rows: Rows) -> Iterable[tuple[str, str, str]]:
    """What is wrong with accounts, as (address, kind, sentence)."""
    for pool in rows.rows:
        if not pool["workers"]:
            yield "/pools", "bad", f"No worker runs for pool {pool['name']}."
        for account in pool.get("accounts", ()):
            if account["state"] not in {"ok", "unknown"}:
                why = f": {account['reason']}" if account.get("reason") else "."
                yield "/pools", "bad", f"Account {account['id']} of {pool['name']} is {account['state']}{why}"


def _caps(rows: Rows) -> Iterable[tuple[str, str, str]]:
    for cap in rows.rows:
        current = cap.get("current")
        if current and current.get("alert"):
            (kind, id_), *_ = cap["scope"].items()
            path = f"/keys/{id_}" if kind == "key" else f"/organizations/{id_}"
            spent = f"{usd(current['spent_nano'])} of {usd(cap['limit_nano'])}"
            yield path, "warn", f"The {cap['period']} cap of {id_} has spent {spent}."


def _parked(rows: Rows) -> Iterable[tuple[str, str, str]]:
    if rows.rows:
        count = len(rows.rows)
        yield (
            "/books",
            "bad",
            f"{count} usage event{'s are' if count > 1 else ' is'} parked: somebody has to look.",
        )


def _webhooks(rows: Rows) -> Iterable[tuple[str, str, str]]:
    for row in rows.rows:
        if row["status"] == "disabled" and row["disabled_reason"] != BY_OPERATOR:
            why = f"Webhook {row['url']} is sent nothing: {row['disabled_reason']}."
            yield f"/webhooks/{row['id']}", "bad", why


ROWS = (PageRow(path="/", show=show),)
