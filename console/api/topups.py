"""Owns the routes of top-ups, which are there where Stripe is configured: to make one, list and show them."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from console.api.base import Call, Route, shaped
from console.api.fields import Body, Id, Nano, Page, PageQuery, Text, Usd, nano_of
from console.topups import PATIENCE
from schemas.admin import reads
from schemas.admin.reads import TopupsQuery
from schemas.admin.reasons import Reason
from schemas.admin.verbs import TOPUP_CREATE
from schemas.verbs.base import VERSION
from schemas.verbs.topups import TopupCreate, TopupRef


class Topup(Struct, frozen=True, kw_only=True):
    """A payment into an organisation's wallet. `url` is where it is paid, while it is `open`.

    Of what it credited, `returned_nano` and `disputed_nano` were taken back, and of these `bad_debt_nano` was not in
    the wallet any more. `live` is false for a payment in Stripe's test mode.
    """

    object: Literal["topup"] = "topup"
    id: str
    organization: str
    amount_nano: int
    currency: str
    status: Literal["created", "open", "processing", "expired", "failed", "paid"]
    url: str | None
    live: bool
    payment: str | None
    credited_nano: int
    returned_nano: int
    disputed_nano: int
    bad_debt_nano: int
    created: int


class TopupBody(Body, frozen=True, kw_only=True):
    """Whose wallet, and how much: from 1 to 10,000 USD, in whole cents."""

    organization: Id
    amount_nano: Nano | UnsetType = UNSET
    amount_usd: Usd | UnsetType = UNSET


class TopupQuery(PageQuery, frozen=True, kw_only=True):
    """Which top-ups."""

    organization: Text = ""


async def _create(call: Call) -> Topup:
    body: TopupBody = call.body
    form = TopupCreate(VERSION, body.organization, nano_of(body, "amount", needed=True) or 0)
    return shaped(await call.act(TOPUP_CREATE, form, PATIENCE), Topup)


async def _list(call: Call) -> Page[Topup]:
    query: TopupQuery = call.query
    form = TopupsQuery(VERSION, query.limit, query.starting_after, query.organization)
    return await call.page(reads.TOPUPS, form, Topup)


async def _show(call: Call) -> Topup:
    return await call.one(reads.TOPUP, TopupRef(VERSION, call.path["id"]), Topup)


TOPUPS = (
    Route(
        method="POST",
        path="/topups",
        summary="Make an address at which a wallet is topped up",
        what="organization",
        scope="money:read",
        body=TopupBody,
        answer=Topup,
        status=201,
        handle=_create,
        reasons=(Reason.PAYMENTS_AWAY, Reason.PAYMENTS_OFF, Reason.OLDER_LEDGER),
    ),
    Route(
        method="GET",
        path="/topups",
        summary="List top-ups",
        what="top-up",
        scope="money:read",
        query=TopupQuery,
        answer=Page[Topup],
        handle=_list,
    ),
    Route(
        method="GET",
        path="/topups/{id}",
        summary="Show a top-up",
        what="top-up",
        scope="money:read",
        answer=Topup,
        handle=_show,
    ),
)
