"""Owns the page of the audit log: who did what, when, from where, and what it changed."""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from console.pages.moments import day_s
from console.pages.site import PageRow
from console.pages.visit import Visit
from schemas.admin.reads import AUDIT_ENTRIES, AuditEntriesQuery

PAGE_ROWS: Final = 50
_FILTERS: Final = ("actor", "action", "target", "from", "to", "after")


async def show(visit: Visit) -> Response:
    """Pages of the log, newest first."""
    asked = {name: visit.query.get(name, "").strip()[:200] for name in _FILTERS}
    query = AuditEntriesQuery(
        limit=PAGE_ROWS,
        after=asked["after"],
        actor=asked["actor"],
        action=asked["action"],
        target=asked["target"],
        from_s=day_s(asked["from"]),
        to_s=day_s(asked["to"], after=1),
    )
    found = await visit.rows(AUDIT_ENTRIES, query)
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    return visit.page(
        "log.html",
        modules=("filter.js",),
        rows=found.rows,
        asked=asked,
        following=f"/settings/log?{urlencode({**kept, 'after': found.cursor})}" if found.cursor else "",
        first=f"/settings/log?{urlencode(kept)}" if asked["after"] else "",
    )


ROWS = (PageRow(path="/settings/log", show=show, needs="audit:read", deployment=True),)
