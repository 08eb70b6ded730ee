"""Owns the routes of organisations: to make, list, show and change one."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field, json

from console.api.base import Call, Route, shaped
from console.api.caps import Cap
from console.api.fields import (
    Balance,
    Body,
    Limits,
    LimitsBody,
    Metadata,
    Nano,
    Page,
    PageQuery,
    Text,
    Usd,
    limits_of,
    nano_of,
    told,
)
from schemas.admin import reads
from schemas.admin.reads import OrganizationsQuery
from schemas.admin.reasons import Reason
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION
from schemas.verbs.organizations import OrganizationCreate, OrganizationRef, OrganizationUpdate

OrganizationId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
_EXPAND = ("caps", "limits.used")


class Organization(Struct, frozen=True, kw_only=True):
    """Who owns keys, a wallet and playground credits. `caps` are there with `expand[]=caps`."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    email: str
    status: Literal["active", "suspended"]
    timezone: str
    balance: Balance
    playground: Balance | None = None  # not in the answer of a change
    low_balance_nano: int | None = None
    limits: Limits
    caps: tuple[Cap, ...] | None = None
    rate: str | None = None
    metadata: dict[str, str]
    created: int
    version: int


class OrganizationBody(Body, frozen=True, kw_only=True):
    """A new organisation. Without an id it gets one."""

    id: OrganizationId | UnsetType = UNSET
    name: Text
    email: Text = ""
    timezone: Text = ""
    low_balance_nano: Nano | UnsetType | None = UNSET
    low_balance_usd: Usd | UnsetType | None = UNSET
    limits: LimitsBody | UnsetType = UNSET
    metadata: Metadata = field(default_factory=dict)


class OrganizationChange(Body, frozen=True, kw_only=True):
    """What is to change; what is not there stays. `suspended` refuses new calls of all its keys.

    A credential that is bound to the organisation cannot change `status`.
    """

    name: Text | UnsetType = UNSET
    email: Text | UnsetType = UNSET
    timezone: Text | UnsetType = UNSET
    status: Literal["active", "suspended"] | UnsetType = UNSET
    low_balance_nano: Nano | UnsetType | None = UNSET
    low_balance_usd: Usd | UnsetType | None = UNSET
    limits: LimitsBody | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class OrganizationQuery(PageQuery, frozen=True, kw_only=True):
    """Which organisations; `name` is a part of the id or the name."""

    status: Literal["", "active", "suspended"] = ""
    name: Text = ""


def labels_of(metadata: dict[str, str] | UnsetType) -> str | None:
    """Metadata as a ledger takes it; None where there is no word of it."""
    return None if isinstance(metadata, UnsetType) else json.encode(metadata).decode()


def _object(row: dict[str, Any]) -> Organization:
    row = {**row, "playground": row["playground"] if "held_nano" in row["playground"] else None}
    return shaped(row, Organization)


async def _create(call: Call) -> Organization:
    body: OrganizationBody = call.body
    rpm, tpm, in_flight = (one or 0 for one in limits_of(body.limits))
    form = OrganizationCreate(
        VERSION,
        told(body.id) or new_id("org_"),
        body.name,
        body.email,
        body.timezone,
        rpm,
        tpm,
        in_flight,
        labels_of(body.metadata) or "",
        nano_of(body, "low_balance") or 0,
    )
    return _object(await call.act("org_create", form))


async def _list(call: Call) -> Page[Organization]:
    query: OrganizationQuery = call.query
    form = OrganizationsQuery(VERSION, query.limit, query.starting_after, query.status, query.name)
    return await call.page(reads.ORGANIZATIONS, form, Organization)


async def _show(call: Call) -> Organization:
    return await call.one(reads.ORGANIZATION, OrganizationRef(VERSION, call.path["id"]), Organization)


async def _change(call: Call) -> Organization:
    body: OrganizationChange = call.body
    form = OrganizationUpdate(
        VERSION,
        call.path["id"],
        told(body.name),
        told(body.email),
        told(body.timezone),
        told(body.status, ""),
        *limits_of(body.limits),
        labels_of(body.metadata),
        nano_of(body, "low_balance"),
    )
    return _object(await call.act("org_update", form))


ORGANIZATIONS = (
    Route(
        method="POST",
        path="/organizations",
        summary="Make an organisation with a wallet",
        what="organization",
        scope="keys:write",
        body=OrganizationBody,
        answer=Organization,
        status=201,
        handle=_create,
        reasons=(Reason.ALREADY_EXISTS, Reason.ORGANIZATION_FORBIDDEN, Reason.OLDER_LEDGER),
    ),
    Route(
        method="GET",
        path="/organizations",
        summary="List organisations",
        what="organization",
        scope="keys:read",
        query=OrganizationQuery,
        answer=Page[Organization],
        handle=_list,
        expand=_EXPAND,
    ),
    Route(
        method="GET",
        path="/organizations/{id}",
        summary="Show an organisation",
        what="organization",
        scope="keys:read",
        answer=Organization,
        handle=_show,
        expand=_EXPAND,
    ),
    Route(
        method="PATCH",
        path="/organizations/{id}",
        summary="Change, suspend or resume an organisation",
        what="organization",
        scope="keys:write",
        body=OrganizationChange,
        answer=Organization,
        handle=_change,
        current=_show,
        reasons=(Reason.ORGANIZATION_FORBIDDEN,),
    ),
)
