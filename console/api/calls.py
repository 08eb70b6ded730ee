"""Owns the routes of calls: pages of those that have ended, the receipt of one, and its refund."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from console.api.base import Call as Asked
from console.api.base import Route
from console.api.fields import Body, LongText, Nano, Page, PageQuery, Seconds, Text, Usd, nano_of
from console.api.money import Credit, Reference, credit
from console.api.organizations import Organization
from schemas.admin import reads
from schemas.admin.reads import CallRef, CallsQuery
from schemas.admin.reasons import Reason
from schemas.verbs.base import VERSION
from schemas.verbs.money import Refund


class Try(Struct, frozen=True, kw_only=True):
    """One try at an upstream. `account` is there for whoever is bound to no organisation."""

    attempt: int
    pool: str
    account: str | None = None
    upstream: str
    outcome: str
    status: int | None
    reason: str | None
    known: str
    prompt_tokens: int
    completion_tokens: int
    uplifts: tuple[str, ...]
    ours: bool


class CallHold(Struct, frozen=True, kw_only=True):
    """What was reserved for a call: `created` and `closed` are unix seconds with their fractions."""

    state: str
    amount_nano: int
    held_nano: int
    limit: int
    attempt: int
    created: float
    closed: float | None


class Call(Struct, frozen=True, kw_only=True):
    """A call and its bill. Of one that still runs, `outcome` is null and nothing is billed. Times are milliseconds.

    `refunds` and `organization` as an object are there where they are asked for by `expand[]`.
    """

    object: Literal["call"] = "call"
    id: str
    key: str
    organization: str | Organization
    model: str
    provider: str
    pool: str
    outcome: str | None
    known: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    tokens: dict[str, int] | None = None
    list_nano: int = 0
    rate: str | None = None
    billed_nano: int
    refunded_nano: int = 0
    net_nano: int = 0
    uncollected_nano: int = 0
    price_ref: str | None = None
    price: dict[str, Any] | None = None
    uplifts: tuple[str, ...] = ()
    attempts: int = 0
    queued_ms: int = 0
    first_byte_ms: int = 0
    duration_ms: int = 0
    final: bool
    created: int
    refunds: tuple[Credit, ...] | None = None


class Receipt(Call, frozen=True, kw_only=True):
    """All that the books have of a call. Our cost is there for whoever is bound to no organisation."""

    upstream: str
    held_nano: int
    cost_nano: int | None
    hold: CallHold
    tries: tuple[Try, ...]
    caps: tuple[str, ...]


class ListedCall(Call, frozen=True, kw_only=True):
    """A call of a list; with `expand[]=receipt` its receipt."""

    receipt: Receipt | None = None


class CallQuery(PageQuery, frozen=True, kw_only=True):
    """Which calls. A page may have fewer rows than its limit and still a `next`."""

    key: Text = ""
    organization: Text = ""
    model: Text = ""
    pool: Text = ""
    outcome: Text = ""
    known: Text = ""
    created_gte: Seconds = 0
    created_lt: Seconds = 0


class RefundBody(Body, frozen=True, kw_only=True):
    """How much of a bill is given back; without an amount, all that is left of it."""

    amount_nano: Nano | UnsetType = UNSET
    amount_usd: Usd | UnsetType = UNSET
    reason: LongText
    reference: Reference = ""


async def _list(call: Asked) -> Page[ListedCall]:
    query: CallQuery = call.query
    form = CallsQuery(
        VERSION,
        query.limit,
        query.starting_after,
        query.key,
        query.organization,
        query.model,
        query.pool,
        query.outcome,
        query.known,
        query.created_gte,
        query.created_lt,
    )
    return await call.page(reads.CALLS, form, ListedCall)


async def _show(call: Asked) -> Receipt:
    return await call.one(reads.CALL, CallRef(VERSION, call.path["id"]), Receipt)


async def _refund(call: Asked) -> Credit:
    body: RefundBody = call.body
    amount = nano_of(body, "amount")
    if amount is not None and amount <= 0:
        amount = -1  # 0 would be all of it
    form = Refund(VERSION, call.path["id"], amount or 0, body.reason, body.reference)
    return credit(await call.act("refund", form))


CALLS = (
    Route(
        method="GET",
        path="/calls",
        summary="List ended calls",
        what="call",
        scope="usage:read",
        query=CallQuery,
        answer=Page[ListedCall],
        handle=_list,
        expand=("organization", "refunds", "receipt"),
    ),
    Route(
        method="GET",
        path="/calls/{id}",
        summary="Show the receipt of a call",
        what="call",
        scope="usage:read",
        answer=Receipt,
        handle=_show,
        expand=("organization", "refunds"),
    ),
    Route(
        method="POST",
        path="/calls/{id}/refunds",
        summary="Refund a call, all or a part of it",
        what="call",
        scope="money:write",
        body=RefundBody,
        answer=Credit,
        status=201,
        handle=_refund,
        reasons=(Reason.REFUND_EXCEEDS_CHARGE, Reason.REFERENCE_USED, Reason.OLDER_LEDGER),
    ),
)
