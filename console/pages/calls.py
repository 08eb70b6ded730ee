"""Owns the receipts: pages of calls, and all that the books have of one: its money line, its times, its tries, its refunds."""

from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.moments import day_s
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, at
from schemas.admin.reads import CALL, CALLS, CallRef, CallsQuery
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import VERSION
from schemas.verbs.money import Refund
from web.figures import NOTHING
from web.latency import Span, latency

PAGE_ROWS: Final = 50
OUTCOMES: Final = (
    ("", "Any"),
    ("ok", "ok"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
    ("expired", "expired"),
)
KNOWN: Final = (("", "Any"), ("reported", "reported"), ("estimated", "estimated"))
_FILTERS: Final = ("id", "key", "organization", "model", "pool", "outcome", "known", "from", "to", "after")


async def listed(visit: Visit) -> Response:
    """Pages of calls, newest first."""
    asked = {name: visit.query.get(name, "").strip()[:200] for name in _FILTERS}
    if asked["id"]:
        return visit.see(at("calls", asked["id"]))
    query = CallsQuery(
        limit=PAGE_ROWS,
        after=asked["after"],
        key=asked["key"],
        organization=asked["organization"],
        model=asked["model"],
        pool=asked["pool"],
        outcome=asked["outcome"],
        known=asked["known"],
        created_gte_s=day_s(asked["from"]),
        created_lt_s=day_s(asked["to"], after=1),
    )
    found = await visit.rows(CALLS, query)
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    return visit.page(
        "calls.html",
        modules=("filter.js",),
        rows=found.rows,
        asked=asked,
        filtered=bool(kept),
        outcomes=OUTCOMES,
        known=KNOWN,
        following=f"/calls?{urlencode({**kept, 'after': found.cursor})}" if found.cursor else "",
        first=f"/calls?{urlencode(kept)}" if asked["after"] else "",
    )


async def one(visit: Visit) -> Response:
    """One call."""
    return await shown(visit)


async def shown(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """One call's receipt, after a refund with what was wrong with it."""
    row = await visit.row(CALL, CallRef(VERSION, visit.path["id"]), "refunds")
    return visit.page(
        "call.html",
        400 if errors else 200,
        row=row,
        timeline=_timeline(row),
        left_usd=nano_to_usd(row["net_nano"]) if row.get("net_nano") else "",
        rate=_percent(row.get("rate")),
        errors=errors or {},
    )


def _percent(rate: str | None) -> str:
    return f"{(Decimal(rate) * 100).normalize():f} %" if rate else NOTHING


def _timeline(row: dict[str, Any]) -> str:
    """When it waited, when its first byte came, when it ended; nothing of a call that runs."""
    whole = row.get("duration_ms")
    if whole is None:
        return ""
    queued, first = row.get("queued_ms") or 0, row.get("first_byte_ms") or 0
    spans = [Span("Waited for room", 0, min(queued, whole), "wait")] if queued else []
    begun = first or whole
    bad = "good" if row["outcome"] == "ok" else "bad"
    spans.append(Span("To the first byte", min(queued, begun), begun, "mark" if first else bad))
    if first:
        spans.append(Span("Answer", first, max(whole, first), bad))
    return latency("What took how long", spans)


async def refund(visit: Visit) -> Response:
    """Gives back a part of a bill, or all that is left of it."""
    id_ = visit.path["id"]
    try:
        amount = visit.usd("amount_usd") if visit.text("amount_usd") else 0
        form = Refund(VERSION, id_, amount, visit.needed("reason", "A reason"), visit.text("reference"))
        await visit.act("refund", form)
    except (FormError, RefusedError) as error:
        return await shown(visit, visit.refused(error))
    return visit.see(at("calls", id_), "refunded")


ROWS = (
    PageRow(path="/calls", show=listed, needs="usage:read"),
    PageRow(path="/calls/{id}", show=one, needs="usage:read"),
    PageRow(path="/calls/{id}/refund", act=refund, act_needs="money:write"),
)
