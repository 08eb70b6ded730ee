"""Owns where Stripe sends a payer: a page for anybody, that says nothing but how to go on.

A browser that comes from another site has no session with it here, since the cookie is for our own pages alone. So this
one asks for none, and its link, which is of our own pages, leads to one that does.
"""

from starlette.requests import Request
from starlette.responses import Response

from console.desk import Desk
from console.pages.visit import at, page
from schemas.bus.subjects import is_token


def back(request: Request, desk: Desk) -> Response:
    """The page after a payment, or after none."""
    told = request.query_params
    organization, topup = told.get("organization", ""), told.get("topup", "")
    known = is_token(organization) and is_token(topup)
    return page(
        desk,
        "topup_back.html",
        path=request.url.path,
        csrf="",
        paid=told.get("paid") == "1",
        following=at("organizations", organization, "topups", topup) if known else "/",
    )
