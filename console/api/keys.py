"""Owns the routes of callers' keys: to make, list, show, change, rotate and revoke one."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import replace

from console.api.base import Call, Route, shaped
from console.api.caps import Cap, NewCapBody, new_cap
from console.api.errors import invalid
from console.api.fields import (
    Balance,
    Body,
    Id,
    Limits,
    LimitsBody,
    LongText,
    Metadata,
    Nano,
    Page,
    PageQuery,
    Seconds,
    Text,
    Usd,
    limits_of,
    nano_of,
    told,
)
from console.api.organizations import Organization, labels_of
from schemas import keys
from schemas.admin import credentials, reads
from schemas.admin.reads import KeysQuery
from schemas.admin.reasons import Reason
from schemas.verbs.base import VERSION
from schemas.verbs.keys import KeyCreate, KeyRef, KeyRotate, KeyUpdate

OVERLAP_S = 86_400
OVERLAP_MAX_S = 30 * 86_400
EXPIRES_MAX_S = 10 * 366 * 86_400
_EXPAND = ("organization", "caps", "limits.used")
Names = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=100)]
Length = Annotated[int, Meta(ge=1, le=EXPIRES_MAX_S, description="Seconds from now.")]
Digest = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of a secret of your own making, in hex.")
]


class Secret(Struct, frozen=True, kw_only=True):
    """A secret that opens a key: never itself, only its last four characters."""

    id: str
    hint: str
    created: int
    expires_at: int | None


class Key(Struct, frozen=True, kw_only=True):
    """A caller's key. `key` is its secret, in the one answer that makes it; `last_used_at` is the day of its last call.

    `organization` is an object with `expand[]=organization`, `caps` are there with `expand[]=caps`. In the answer of a
    change `last_used_at` is null.
    """

    object: Literal["key"] = "key"
    id: str
    name: str
    organization: str | Organization
    status: Literal["active", "paused", "expired", "revoked"]
    draws_on: Literal["key", "organization", "playground"]
    balance: Balance
    providers: tuple[str, ...] | None
    models: tuple[str, ...] | None
    expires_at: int | None
    revoked_at: int | None
    low_balance_nano: int | None
    limits: Limits
    caps: tuple[Cap, ...] | None = None
    secrets: tuple[Secret, ...] = ()
    last_used_at: int | None = None
    metadata: dict[str, str]
    created: int
    version: int
    key: str | None = None


class KeyBody(Body, frozen=True, kw_only=True):
    """A new key. With `digest` its secret is of your own making, and nobody else ever has it."""

    name: Text = ""
    organization: Id | UnsetType = UNSET
    draws_on: Literal["key", "organization", "playground"] = "key"
    opening_nano: Nano | UnsetType = UNSET
    opening_usd: Usd | UnsetType = UNSET
    providers: Names | None = None
    models: Names | None = None
    expires_at: Seconds | None = None
    expires_in: Length | None = None
    limits: LimitsBody | UnsetType = UNSET
    caps: Annotated[tuple[NewCapBody, ...], Meta(max_length=4)] = ()
    low_balance_nano: Nano | UnsetType | None = UNSET
    low_balance_usd: Usd | UnsetType | None = UNSET
    metadata: Metadata = field(default_factory=dict)
    digest: Digest | None = None


class KeyChange(Body, frozen=True, kw_only=True):
    """What is to change; what is not there stays. Null clears: all providers, all models, no end."""

    name: Text | UnsetType = UNSET
    providers: Names | UnsetType | None = UNSET
    models: Names | UnsetType | None = UNSET
    expires_at: Seconds | UnsetType | None = UNSET
    expires_in: Length | UnsetType = UNSET
    limits: LimitsBody | UnsetType = UNSET
    low_balance_nano: Nano | UnsetType | None = UNSET
    low_balance_usd: Usd | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    status: Literal["active", "paused"] | UnsetType = UNSET


class RotateBody(Body, frozen=True, kw_only=True):
    """How long the secrets before still open the key, in seconds; 0 ends them at once."""

    overlap: Annotated[int, Meta(ge=0, le=OVERLAP_MAX_S)] = OVERLAP_S
    digest: Digest | None = None


class RevokeBody(Body, frozen=True, kw_only=True):
    """Why, for the log."""

    reason: LongText = ""


class KeyQuery(PageQuery, frozen=True, kw_only=True):
    """Which keys; `name` is a part of the name, `digest` the SHA-256 of a secret, in hex."""

    organization: Text = ""
    status: Literal["", "active", "paused", "expired", "revoked"] = ""
    name: Text = ""
    digest: Digest | None = None


class _Made(Struct, frozen=True):
    """A secret: itself, if it is ours to tell, its digest and its hint."""

    secret: str | None
    digest: bytes
    hint: str


def _secret(digest: str | None) -> _Made:
    if digest is not None:
        return _Made(None, bytes.fromhex(digest), "")
    secret = keys.generate()
    return _Made(secret, keys.digest(secret), credentials.hint(secret))


def _with_secret(call: Call, row: dict[str, Any], made: _Made) -> Key:
    """A key with its secret: an act that was done before has another one, which nobody here ever had."""
    return replace(shaped(row, Key), key=None if call.replayed else made.secret)


def _caps(body: KeyBody) -> tuple[Any, ...]:
    return tuple(new_cap(one, f"caps[{at}].") for at, one in enumerate(body.caps))


async def _create(call: Call) -> Key:
    body: KeyBody = call.body
    if body.expires_at is not None and body.expires_in is not None:
        raise invalid("Give expires_at or expires_in, not both.", "expires_at")
    opening = nano_of(body, "opening") or 0
    if opening and body.draws_on != "key":
        raise invalid("Only a key that draws on its own balance can have an opening one.", "opening_nano")
    made = _secret(body.digest)
    rpm, tpm, in_flight = (one or 0 for one in limits_of(body.limits))
    form = KeyCreate(
        VERSION,
        made.digest,
        body.name,
        told(body.organization) or await call.organization(),
        opening,
        body.providers,
        body.draws_on == "playground",
        made.hint,
        body.models,
        (body.expires_at or 0) * 1000,
        body.draws_on == "organization",
        _caps(body),
        body.expires_in or 0,
        rpm,
        tpm,
        in_flight,
        labels_of(body.metadata) or "",
        nano_of(body, "low_balance") or 0,
    )
    return _with_secret(call, await call.act("key_create", form), made)


async def _list(call: Call) -> Page[Key]:
    query: KeyQuery = call.query
    form = KeysQuery(
        VERSION,
        query.limit,
        query.starting_after,
        query.organization,
        query.status,
        query.name,
        bytes.fromhex(query.digest or ""),
    )
    return await call.page(reads.KEYS, form, Key)


async def _show(call: Call) -> Key:
    return await call.one(reads.KEY, KeyRef(VERSION, call.path["id"]), Key)


def _names(value: tuple[str, ...] | UnsetType | None) -> tuple[str, ...] | None:
    return None if isinstance(value, UnsetType) else (value or ())


async def _change(call: Call) -> Key:
    body: KeyChange = call.body
    if body.expires_at is not UNSET and body.expires_in is not UNSET:
        raise invalid("Give expires_at or expires_in, not both.", "expires_at")
    ends = None if isinstance(body.expires_at, UnsetType) else (body.expires_at or 0) * 1000
    form = KeyUpdate(
        VERSION,
        call.path["id"],
        told(body.name),
        _names(body.providers),
        _names(body.models),
        ends,
        told(body.status, ""),
        told(body.expires_in, 0),
        *limits_of(body.limits),
        labels_of(body.metadata),
        nano_of(body, "low_balance"),
    )
    return shaped(await call.act("key_update", form), Key)


async def _rotate(call: Call) -> Key:
    body: RotateBody = call.body
    made = _secret(body.digest)
    form = KeyRotate(VERSION, call.path["id"], made.digest, made.hint, body.overlap * 1000)
    return _with_secret(call, await call.act("key_rotate", form), made)


async def _revoke(call: Call) -> Key:
    reason = call.body.reason if call.body is not None else ""
    return shaped(await call.act("key_revoke", KeyRef(VERSION, call.path["id"], reason)), Key)


KEYS = (
    Route(
        method="POST",
        path="/keys",
        summary="Make a key; with an opening balance it also needs money:write",
        what="organization",
        scope="keys:write",
        body=KeyBody,
        answer=Key,
        status=201,
        handle=_create,
        reasons=(Reason.OLDER_LEDGER,),
    ),
    Route(
        method="GET",
        path="/keys",
        summary="List keys",
        what="key",
        scope="keys:read",
        query=KeyQuery,
        answer=Page[Key],
        handle=_list,
        expand=_EXPAND,
    ),
    Route(
        method="GET",
        path="/keys/{id}",
        summary="Show a key",
        what="key",
        scope="keys:read",
        answer=Key,
        handle=_show,
        expand=_EXPAND,
    ),
    Route(
        method="PATCH",
        path="/keys/{id}",
        summary="Change, pause or resume a key",
        what="key",
        scope="keys:write",
        body=KeyChange,
        answer=Key,
        handle=_change,
        current=_show,
        reasons=(Reason.OLDER_LEDGER,),
    ),
    Route(
        method="POST",
        path="/keys/{id}/rotate",
        summary="Give a key another secret; those before open it for a while",
        what="key",
        scope="keys:write",
        body=RotateBody,
        answer=Key,
        handle=_rotate,
        current=_show,
        reasons=(Reason.OLDER_LEDGER,),
    ),
    Route(
        method="POST",
        path="/keys/{id}/revoke",
        summary="Revoke a key, for good",
        what="key",
        scope="keys:write",
        body=RevokeBody,
        answer=Key,
        handle=_revoke,
        current=_show,
    ),
    Route(
        method="DELETE",
        path="/keys/{id}",
        summary="Revoke a key, for good",
        what="key",
        scope="keys:write",
        answer=Key,
        handle=_revoke,
        current=_show,
    ),
)
