"""Owns the routes of pools: what lives, and top-ups of their accounts."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from console.api.base import Call, Route
from console.api.fields import Body, LongText, Nano, Page, Usd, nano_of
from console.api.money import Credit, Reference, credit
from schemas.admin import reads
from schemas.admin.reads import PoolRef
from schemas.admin.reasons import Reason
from schemas.verbs.base import VERSION
from schemas.verbs.money import UpstreamDeposit
from schemas.verbs.pools import PoolsQuery


class Account(Struct, frozen=True, kw_only=True):
    """A pool's account, as all its workers see it together. Without a limit `credit_nano` is null.

    `until` is when a state ends, `listed_at` when its list of models was read: unix seconds with their fractions.
    """

    id: str
    credit_nano: int | None
    state: str
    inflight: int
    capacity: int
    misreported: int
    until: float | None = None
    reason: str | None = None
    listed_at: float | None = None
    listed: int | None = None
    list_error: str | None = None
    models: tuple[dict[str, Any], ...] = ()


class Pool(Struct, frozen=True, kw_only=True):
    """A pool: its workers, what they serve, and why they do not serve the rest. Costs are ours, by UTC day and month."""

    object: Literal["pool"] = "pool"
    id: str
    name: str
    provider: str
    workers: int
    inflight: int
    capacity: int
    models: tuple[str, ...]
    missing: dict[str, str]
    unlisted: tuple[str, ...]
    unpriced: tuple[str, ...]
    accounts: tuple[Account, ...]
    cost_today_nano: int
    cost_month_nano: int


class TopUpBody(Body, frozen=True, kw_only=True):
    """What was paid to a provider; below zero it is taken back, down to nothing."""

    amount_nano: Nano | UnsetType = UNSET
    amount_usd: Usd | UnsetType = UNSET
    reason: LongText = ""
    reference: Reference = ""


async def _list(call: Call) -> Page[Pool]:
    return await call.page(reads.POOLS, PoolsQuery(), Pool)


async def _show(call: Call) -> Pool:
    return await call.one(reads.POOL, PoolRef(VERSION, call.path["name"]), Pool)


async def _top_up(call: Call) -> Credit:
    body: TopUpBody = call.body
    amount = nano_of(body, "amount", needed=True) or 0
    form = UpstreamDeposit(
        VERSION, call.path["pool"], call.path["account"], amount, body.reason, body.reference
    )
    return credit(await call.act("upstream_deposit", form))


POOLS = (
    Route(
        method="GET",
        path="/pools",
        summary="List pools with their accounts",
        what="pool",
        scope="pools:read",
        answer=Page[Pool],
        handle=_list,
        reasons=(Reason.ORGANIZATION_FORBIDDEN,),
    ),
    Route(
        method="GET",
        path="/pools/{name}",
        summary="Show a pool",
        what="pool",
        scope="pools:read",
        answer=Pool,
        handle=_show,
        reasons=(Reason.ORGANIZATION_FORBIDDEN,),
    ),
    Route(
        method="POST",
        path="/pools/{pool}/accounts/{account}/credits",
        summary="Tell that an account was topped up with its provider",
        what="account",
        scope="pools:write",
        body=TopUpBody,
        answer=Credit,
        status=201,
        handle=_top_up,
        reasons=(Reason.REFERENCE_USED, Reason.ORGANIZATION_FORBIDDEN),
    ),
)
