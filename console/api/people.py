"""Owns the routes of who may act: operators, management keys, sessions, and who is asking."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from console.api.base import Call, Route, shaped
from console.api.errors import invalid
from console.api.fields import Body, Id, Page, PageQuery, Seconds, Text, told
from console.api.keys import Length
from schemas.admin import credentials, reads
from schemas.admin.authority import AREAS, SCOPES
from schemas.admin.management_keys import (
    ManagementKeyCreate,
    ManagementKeyList,
    ManagementKeyRef,
    ManagementKeyUpdate,
)
from schemas.admin.operators import (
    INVITE_S,
    OperatorCreate,
    OperatorList,
    OperatorRef,
    OperatorUpdate,
    SignInCreate,
)
from schemas.admin.reads import Me
from schemas.admin.reasons import Reason
from schemas.admin.sessions import SessionList, SessionRef
from schemas.verbs.base import VERSION

Role = Literal["owner", "admin", "billing", "support", "viewer"]
Scope = Annotated[str, Meta(pattern=f"^({'|'.join(AREAS)}):(read|write)$", examples=["keys:write"])]
Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=len(SCOPES))]


class Identity(Struct, frozen=True, kw_only=True):
    """Who is asking, and what he may. Bound to an `organization`, he sees nothing of others."""

    object: Literal["me"] = "me"
    id: str
    kind: Literal["management_key", "operator", "sign_in"]
    name: str
    role: Role | None
    scopes: tuple[str, ...]
    organization: str | None
    session: str | None


class Operator(Struct, frozen=True, kw_only=True):
    """A person who may sign in to the console; by the provider `issuer`, whose word his role is at each sign-in, or by links."""

    object: Literal["operator"] = "operator"
    id: str
    name: str
    email: str
    role: Role
    organization: str | None
    issuer: str | None
    status: Literal["active", "removed"]
    created: int
    removed_at: int | None
    version: int


class OperatorBody(Body, frozen=True, kw_only=True):
    """A new operator, of one organisation or of all."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
    email: Text = ""
    role: Role
    organization: Id | UnsetType = UNSET


class OperatorChange(Body, frozen=True, kw_only=True):
    """What is to change; what is not there stays. `organization` null is for all of them."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")] | UnsetType = UNSET
    email: Text | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    organization: Id | UnsetType | None = UNSET


class Invitation(Struct, frozen=True, kw_only=True):
    """A link to sign in, good once: `token` stands behind `/login#t=`, and is null in an answer that is repeated."""

    object: Literal["invitation"] = "invitation"
    id: str
    operator: str
    token: str | None
    expires_at: int


class ManagementKey(Struct, frozen=True, kw_only=True):
    """A key to this API. `key` is its secret, in the one answer that makes it."""

    object: Literal["management_key"] = "management_key"
    id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    organization: str | None
    status: Literal["active", "expired", "revoked"]
    created: int
    expires_at: int | None
    revoked_at: int | None
    version: int
    key: str | None = None


class ManagementKeyBody(Body, frozen=True, kw_only=True):
    """A new management key. Nobody gives more scopes than he has."""

    name: Text = ""
    scopes: Scopes
    organization: Id | UnsetType = UNSET
    expires_at: Seconds | None = None
    expires_in: Length | None = None


class ManagementKeyChange(Body, frozen=True, kw_only=True):
    """What is to change; what is not there stays."""

    name: Text | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET


class Session(Struct, frozen=True, kw_only=True):
    """An operator who is signed in. `current` is the asker's own."""

    object: Literal["session"] = "session"
    id: str
    operator: str
    ip: str
    user_agent: str
    current: bool
    created: int
    last_seen_at: int
    expires_at: int
    ended_at: int | None


class SessionQuery(PageQuery, frozen=True, kw_only=True):
    """Whose sessions."""

    operator: Text = ""


async def _me(call: Call) -> Identity:
    return await call.one(reads.ME, Me(), Identity)


async def _operator_create(call: Call) -> Operator:
    body: OperatorBody = call.body
    organization = told(body.organization) or await call.organization()
    form = OperatorCreate(VERSION, body.name, body.email, body.role, organization)
    return shaped(await call.act("operator_create", form), Operator)


async def _operators(call: Call) -> Page[Operator]:
    form = OperatorList(VERSION, call.query.limit, call.query.starting_after)
    return await call.page(reads.OPERATORS, form, Operator)


async def _operator(call: Call) -> Operator:
    return await call.one(reads.OPERATOR, OperatorRef(VERSION, call.path["id"]), Operator)


async def _operator_change(call: Call) -> Operator:
    body: OperatorChange = call.body
    organization = None if isinstance(body.organization, UnsetType) else (body.organization or "")
    form = OperatorUpdate(
        VERSION, call.path["id"], told(body.name), told(body.email), told(body.role), organization
    )
    return shaped(await call.act("operator_update", form), Operator)


async def _operator_remove(call: Call) -> Operator:
    return shaped(await call.act("operator_remove", OperatorRef(VERSION, call.path["id"])), Operator)


async def _invite(call: Call) -> Invitation:
    token = credentials.new_token()
    form = SignInCreate(VERSION, call.path["id"], credentials.digest(token), INVITE_S)
    row = await call.act("sign_in_create", form)
    return Invitation(
        id=row["id"],
        operator=row["operator"]["id"],
        token=None if call.replayed else token,
        expires_at=row["expires_at"],
    )


async def _key_create(call: Call) -> ManagementKey:
    body: ManagementKeyBody = call.body
    if body.expires_at is not None and body.expires_in is not None:
        raise invalid("Give expires_at or expires_in, not both.", "expires_at")
    secret = credentials.new_management_key()
    form = ManagementKeyCreate(
        VERSION,
        credentials.digest(secret),
        credentials.hint(secret),
        body.name,
        body.scopes,
        told(body.organization) or await call.organization(),
        (body.expires_at or 0) * 1000,
        body.expires_in or 0,
    )
    row: dict[str, Any] = await call.act("management_key_create", form)
    return replace(shaped(row, ManagementKey), key=None if call.replayed else secret)


async def _keys(call: Call) -> Page[ManagementKey]:
    form = ManagementKeyList(VERSION, call.query.limit, call.query.starting_after)
    return await call.page(reads.MANAGEMENT_KEYS, form, ManagementKey)


async def _key(call: Call) -> ManagementKey:
    return await call.one(reads.MANAGEMENT_KEY, ManagementKeyRef(VERSION, call.path["id"]), ManagementKey)


async def _key_change(call: Call) -> ManagementKey:
    body: ManagementKeyChange = call.body
    form = ManagementKeyUpdate(VERSION, call.path["id"], told(body.name), told(body.scopes))
    return shaped(await call.act("management_key_update", form), ManagementKey)


async def _key_revoke(call: Call) -> ManagementKey:
    row = await call.act("management_key_revoke", ManagementKeyRef(VERSION, call.path["id"]))
    return shaped(row, ManagementKey)


async def _sessions(call: Call) -> Page[Session]:
    query: SessionQuery = call.query
    form = SessionList(VERSION, query.limit, query.starting_after, query.operator)
    return await call.page(reads.SESSIONS, form, Session)


async def _session(call: Call) -> Session:
    return await call.one(reads.SESSION, SessionRef(VERSION, call.path["id"]), Session)


async def _session_end(call: Call) -> Session:
    return shaped(await call.act("session_end", SessionRef(VERSION, call.path["id"])), Session)


_OPERATOR = {"what": "operator", "answer": Operator}
_KEY = {"what": "management key", "answer": ManagementKey}
_SESSION = {"what": "session", "answer": Session}
_READ, _WRITE = "operators:read", "operators:write"


def _route(method: str, path: str, summary: str, scope: str, **fields: Any) -> Route:
    return Route(method=method, path=path, summary=summary, scope=scope, **fields)


PEOPLE = (
    _route("GET", "/me", "Show who is asking", "", what="session", answer=Identity, handle=_me),
    _route(
        "POST",
        "/operators",
        "Make an operator",
        _WRITE,
        what="organization",
        answer=Operator,
        body=OperatorBody,
        status=201,
        handle=_operator_create,
    ),
    _route(
        "GET",
        "/operators",
        "List operators",
        _READ,
        what="operator",
        answer=Page[Operator],
        query=PageQuery,
        handle=_operators,
    ),
    _route("GET", "/operators/{id}", "Show an operator", _READ, handle=_operator, **_OPERATOR),
    _route(
        "PATCH",
        "/operators/{id}",
        "Change an operator",
        _WRITE,
        body=OperatorChange,
        handle=_operator_change,
        current=_operator,
        reasons=(Reason.LAST_OWNER,),
        **_OPERATOR,
    ),
    _route(
        "DELETE",
        "/operators/{id}",
        "Remove an operator, with the sessions",
        _WRITE,
        handle=_operator_remove,
        current=_operator,
        reasons=(Reason.LAST_OWNER,),
        **_OPERATOR,
    ),
    _route(
        "POST",
        "/operators/{id}/invite",
        "Make a link by which an operator signs in, once within 24 hours",
        _WRITE,
        what="operator",
        answer=Invitation,
        status=201,
        handle=_invite,
    ),
    _route(
        "POST",
        "/management_keys",
        "Make a management key",
        _WRITE,
        what="organization",
        answer=ManagementKey,
        body=ManagementKeyBody,
        status=201,
        handle=_key_create,
    ),
    _route(
        "GET",
        "/management_keys",
        "List management keys",
        _READ,
        what="management key",
        answer=Page[ManagementKey],
        query=PageQuery,
        handle=_keys,
    ),
    _route("GET", "/management_keys/{id}", "Show a management key", _READ, handle=_key, **_KEY),
    _route(
        "PATCH",
        "/management_keys/{id}",
        "Change a management key",
        _WRITE,
        body=ManagementKeyChange,
        handle=_key_change,
        current=_key,
        **_KEY,
    ),
    _route(
        "DELETE",
        "/management_keys/{id}",
        "Revoke a management key, for good",
        _WRITE,
        handle=_key_revoke,
        current=_key,
        **_KEY,
    ),
    _route(
        "GET",
        "/sessions",
        "List the sessions that live",
        _READ,
        what="session",
        answer=Page[Session],
        query=SessionQuery,
        handle=_sessions,
    ),
    _route("GET", "/sessions/{id}", "Show a session", _READ, handle=_session, **_SESSION),
    _route("DELETE", "/sessions/{id}", "End a session", _WRITE, handle=_session_end, **_SESSION),
)
