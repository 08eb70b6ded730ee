"""Owns the routes of spend caps: to make, list, show, change and end one."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from console.api.base import Call, Route, shaped
from console.api.errors import invalid
from console.api.fields import Body, Id, Nano, Page, PageQuery, Text, Usd, nano_of, told
from schemas.admin import reads
from schemas.admin.reads import CapRef, CapsQuery
from schemas.admin.reasons import Reason
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION
from schemas.verbs.caps import ALERT_PERCENT, CapCreate, CapEnd, CapUpdate, NewCap

Period = Literal["day", "week", "month", "total"]
Percent = Annotated[int, Meta(ge=1, le=100)]


class CapPeriod(Struct, frozen=True, kw_only=True):
    """The running period of a cap."""

    starts_at: int
    ends_at: int | None
    spent_nano: int
    held_nano: int
    remaining_nano: int
    alert: bool


class CapScope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose spending it bounds: a key's, or an organisation's."""

    key: str | None = None
    organization: str | None = None


class Cap(Struct, frozen=True, kw_only=True):
    """What a key or an organisation may spend in a period. `current` is null until its first period begins."""

    object: Literal["cap"] = "cap"
    id: str
    scope: CapScope
    period: Period
    timezone: str
    limit_nano: int
    alert_percent: int
    current: CapPeriod | None
    begins_at: int | None
    created: int
    ended_at: int | None
    version: int


class NewCapBody(Body, frozen=True, kw_only=True):
    """A cap of a key that is made with it."""

    period: Period
    limit_nano: Nano | UnsetType = UNSET
    limit_usd: Usd | UnsetType = UNSET
    timezone: Text = ""
    alert_percent: Percent = ALERT_PERCENT


class CapBody(NewCapBody, frozen=True, kw_only=True):
    """A new cap, of a key or of an organisation: one of the two."""

    key: Id | UnsetType = UNSET
    organization: Id | UnsetType = UNSET


class CapChange(Body, frozen=True, kw_only=True):
    """What is to change. Lowering a cap below what is spent stops new calls, and no more."""

    limit_nano: Nano | UnsetType = UNSET
    limit_usd: Usd | UnsetType = UNSET
    alert_percent: Percent | UnsetType = UNSET


class CapQuery(PageQuery, frozen=True, kw_only=True):
    """Which caps: of a key, of an organisation itself, or all."""

    key: Text = ""
    organization: Text = ""


def new_cap(body: NewCapBody, at: str = "") -> NewCap:
    """A new cap as a ledger takes it. Raises ApiError."""
    limit_nano = nano_of(body, "limit", needed=True, at=at) or 0
    return NewCap(new_id("cap_"), body.period, limit_nano, body.timezone, body.alert_percent)


async def _create(call: Call) -> Cap:
    body: CapBody = call.body
    if (body.key is UNSET) == (body.organization is UNSET):
        raise invalid("Give key or organization, one of them.", "key")
    form = CapCreate(VERSION, new_cap(body), told(body.key, ""), told(body.organization, ""))
    return shaped(await call.act("cap_create", form), Cap)


async def _list(call: Call) -> Page[Cap]:
    query: CapQuery = call.query
    form = CapsQuery(VERSION, query.limit, query.starting_after, query.key, query.organization)
    return await call.page(reads.CAPS, form, Cap)


async def _show(call: Call) -> Cap:
    return await call.one(reads.CAP, CapRef(VERSION, call.path["id"]), Cap)


async def _change(call: Call) -> Cap:
    body: CapChange = call.body
    form = CapUpdate(VERSION, call.path["id"], nano_of(body, "limit"), told(body.alert_percent))
    return shaped(await call.act("cap_update", form), Cap)


async def _end(call: Call) -> Cap:
    return shaped(await call.act("cap_end", CapEnd(VERSION, call.path["id"])), Cap)


CAPS = (
    Route(
        method="POST",
        path="/caps",
        summary="Make a spend cap; one per key or organisation and period",
        what="key or organization",
        scope="keys:write",
        body=CapBody,
        answer=Cap,
        status=201,
        handle=_create,
        reasons=(Reason.CAP_EXISTS, Reason.OLDER_LEDGER),
    ),
    Route(
        method="GET",
        path="/caps",
        summary="List the caps in force",
        what="cap",
        scope="keys:read",
        query=CapQuery,
        answer=Page[Cap],
        handle=_list,
    ),
    Route(
        method="GET",
        path="/caps/{id}",
        summary="Show a cap",
        what="cap",
        scope="keys:read",
        answer=Cap,
        handle=_show,
    ),
    Route(
        method="PATCH",
        path="/caps/{id}",
        summary="Change a cap",
        what="cap",
        scope="keys:write",
        body=CapChange,
        answer=Cap,
        handle=_change,
        current=_show,
        reasons=(Reason.OLDER_LEDGER,),
    ),
    Route(
        method="DELETE",
        path="/caps/{id}",
        summary="End a cap",
        what="cap",
        scope="keys:write",
        answer=Cap,
        handle=_end,
        current=_show,
        reasons=(Reason.OLDER_LEDGER,),
    ),
)
