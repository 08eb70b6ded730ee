"""Owns the pages of top-ups: the form of an organisation's page, and one top-up with the way to Stripe.

A form may only lead to pages of ours (`form-action`), so it leads to the top-up's page, and that has a link to Stripe.
"""

from starlette.responses import Response

from console.asking import RefusedError
from console.pages import organizations
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, at
from console.topups import PATIENCE
from schemas.admin.reads import TOPUP
from schemas.admin.verbs import TOPUP_CREATE
from schemas.verbs.base import VERSION
from schemas.verbs.topups import TopupCreate, TopupRef


async def create(visit: Visit) -> Response:
    """Makes a top-up."""
    id_ = visit.path["id"]
    try:
        form = TopupCreate(VERSION, id_, visit.usd("topup_usd"))
        made = await visit.act(TOPUP_CREATE, form, PATIENCE)
    except (FormError, RefusedError) as error:
        return await organizations.shown(visit, visit.refused(error), "topups")
    return visit.see(at("organizations", id_, "topups", str(made.rows[0]["id"])))


async def one(visit: Visit) -> Response:
    """One top-up: where to pay it, or what became of it."""
    row = await visit.row(TOPUP, TopupRef(VERSION, visit.path["topup"]))
    return visit.page("topup.html", modules=("live.js",), row=row)


ROWS = (
    PageRow(path="/organizations/{id}/topups", act=create, act_needs="money:read"),
    PageRow(path="/organizations/{id}/topups/{topup}", show=one, needs="money:read"),
)
