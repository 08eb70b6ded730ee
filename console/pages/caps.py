"""Owns what is done to a cap that is there: another limit, or its end. It leads back to whose cap it is."""

from starlette.responses import Response

from console.pages.site import PageRow
from console.pages.visit import Visit, at
from schemas.admin.reads import CAP, CapRef
from schemas.verbs.base import VERSION
from schemas.verbs.caps import CapEnd, CapUpdate


async def _owner(visit: Visit) -> str:
    scope = (await visit.row(CAP, CapRef(VERSION, visit.path["id"])))["scope"]
    return at("keys", scope["key"]) if scope.get("key") else at("organizations", scope["organization"])


async def change(visit: Visit) -> Response:
    """Sets another limit."""
    owner = await _owner(visit)
    await visit.act("cap_update", CapUpdate(VERSION, visit.path["id"], limit_nano=visit.usd("limit_usd")))
    return visit.see(owner, "cap_changed")


async def end(visit: Visit) -> Response:
    """Ends it."""
    owner = await _owner(visit)
    await visit.act("cap_end", CapEnd(VERSION, visit.path["id"]))
    return visit.see(owner, "cap_ended")


ROWS = (
    PageRow(path="/caps/{id}", act=change, act_needs="keys:write"),
    PageRow(path="/caps/{id}/end", act=end, act_needs="keys:write"),
)
