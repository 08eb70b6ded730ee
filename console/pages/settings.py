"""Owns the page of settings: what the deployment runs on and its reload, and who may do what here by which keys and sessions."""

import asyncio
from typing import Any, Final

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.lengths import LENGTHS, ends_in_s
from console.pages.site import PageRow
from console.pages.visit import Blank, FormError, Visit, names_given
from runtime.ledger import once
from runtime.reload import STATUS
from schemas.admin.authority import ROLES, SCOPES, OperatorRole
from schemas.admin.credentials import digest, hint, new_management_key, new_token
from schemas.admin.management_keys import ManagementKeyCreate, ManagementKeyList, ManagementKeyRef
from schemas.admin.operators import (
    INVITE_S,
    OperatorCreate,
    OperatorList,
    OperatorRef,
    OperatorUpdate,
    SignInCreate,
)
from schemas.admin.reads import (
    MANAGEMENT_KEYS,
    OPERATORS,
    SESSIONS,
    SETTINGS,
    SETTINGS_CHECK,
    SETTINGS_RELOADED,
)
from schemas.admin.sessions import SessionList, SessionRef
from schemas.admin.settings import SettingsCheck, SettingsQuery, SettingsReload, SettingsReloaded
from schemas.verbs.base import VERSION

LISTED: Final = 100
_ROLES: Final = tuple((role.value, role.value) for role in OperatorRole)


async def show(visit: Visit) -> Response:
    """The page."""
    return await shown(visit)


async def shown(visit: Visit, errors: dict[str, str] | None = None, part: str = "", **made: Any) -> Response:
    """The page, after a form of one of its parts with what was wrong there, or with what it has made."""
    configuration, operators, keys, sessions = await asyncio.gather(
        visit.rows_if(SETTINGS, SettingsQuery()),
        visit.rows_if(OPERATORS, OperatorList(limit=LISTED)),
        visit.rows_if(MANAGEMENT_KEYS, ManagementKeyList(limit=LISTED)),
        visit.rows_if(SESSIONS, SessionList(limit=LISTED)),
    )
    return visit.page(
        "settings.html",
        400 if errors else 200,
        operators=operators.rows,
        names=Blank({row["id"]: row["name"] for row in operators.rows}),
        keys=keys.rows,
        sessions=sessions.rows,
        roles=_ROLES,
        role_scopes=[(role.value, scopes) for role, scopes in ROLES.items()],
        scopes=SCOPES,
        lengths=LENGTHS,
        configuration=configuration.rows[0] if configuration.rows else None,
        running=_running(visit),
        errors=errors or {},
        part=part,
        made=Blank(made),
    )


def _running(visit: Visit) -> list[tuple[str, str]]:
    """What this process runs on, without any secret."""
    settings = visit.desk.settings
    console = settings.console
    return [
        ("Read from", settings.source),
        ("Generation", f"{STATUS.generation}{'' if STATUS.ok else ', and a newer one was refused'}"),
        ("Base URL for callers", visit.desk.base_url),
        ("This console", console.url),
        ("Proxies that it believes", ", ".join(console.trusted_proxies) or "none"),
        (
            "Files are watched",
            "yes: a change is a reload" if settings.watch else "no: tokn reload reads them",
        ),
        ("Top-ups", "paid through Stripe" if settings.stripe is not None else "off: nobody can pay here"),
        ("A call may take", f"{settings.calls.total_s:g} s, and {settings.calls.idle_s:g} s without a byte"),
    ]


async def check(visit: Visit) -> Response:
    """Says what the file would change."""
    rows = await visit.rows(SETTINGS_CHECK, SettingsCheck(), patience=once(visit.desk.limits.reload_s))
    return await shown(visit, checked=rows.rows[0])


async def reload(visit: Visit) -> Response:
    """Has the file taken, once for the form that was sent, and says what it has changed."""
    patience = once(visit.desk.limits.reload_s)
    try:
        id_ = (await visit.act("settings_reload", SettingsReload())).rows[0]["id"]
        made = await visit.rows(SETTINGS_RELOADED, SettingsReloaded(VERSION, id_), patience=patience)
    except RefusedError as error:
        return await shown(visit, visit.refused(error), "configuration")
    return await shown(visit, reloaded=made.rows[0])


async def add_operator(visit: Visit) -> Response:
    """Makes an operator, with a link to sign in."""
    try:
        name = visit.needed("name", "A name")
        form = OperatorCreate(
            VERSION, name, visit.text("email"), visit.text("role"), visit.text("organization")
        )
        operator = (await visit.act("operator_create", form)).rows[0]["id"]
        return await _invited(visit, operator, name)
    except (FormError, RefusedError) as error:
        return await shown(visit, visit.refused(error), "operator")


async def _invited(visit: Visit, operator: str, name: str) -> Response:
    """Makes a link for an operator and shows it: the one before it is worth nothing then."""
    token = new_token()
    await visit.act("sign_in_create", SignInCreate(VERSION, operator, digest(token), INVITE_S))
    return await shown(visit, link=f"{visit.desk.settings.console.url}/login#t={token}", invited=name)


async def invite(visit: Visit) -> Response:
    """Gives an operator another link."""
    try:
        return await _invited(visit, visit.path["id"], visit.text("name") or visit.path["id"])
    except RefusedError as error:
        return await shown(visit, visit.refused(error), "operators")


async def change_operator(visit: Visit) -> Response:
    """Gives an operator another role."""
    try:
        await visit.act("operator_update", OperatorUpdate(VERSION, visit.path["id"], role=visit.text("role")))
    except RefusedError as error:
        return await shown(visit, visit.refused(error), "operators")
    return visit.see("/settings", "operator_changed")


async def remove_operator(visit: Visit) -> Response:
    """Removes an operator, with his sessions and links."""
    try:
        await visit.act("operator_remove", OperatorRef(VERSION, visit.path["id"]))
    except RefusedError as error:
        return await shown(visit, visit.refused(error), "operators")
    return visit.see("/settings", "operator_removed")


async def add_key(visit: Visit) -> Response:
    """Makes a management key, and shows it once."""
    secret = new_management_key()
    try:
        form = ManagementKeyCreate(
            VERSION,
            digest(secret),
            hint(secret),
            visit.needed("name", "A name"),
            names_given(visit.text("scopes")),
            visit.text("organization"),
            expires_in_s=ends_in_s(visit.text("expires_in"), "expires_in"),
        )
        made = await visit.act("management_key_create", form)
    except (FormError, RefusedError) as error:
        return await shown(visit, visit.refused(error), "key")
    return await shown(visit, secret="" if made.replayed else secret, again=made.replayed)


async def revoke_key(visit: Visit) -> Response:
    """Revokes a management key for good."""
    await visit.act("management_key_revoke", ManagementKeyRef(VERSION, visit.path["id"]))
    return visit.see("/settings", "mkey_revoked")


async def end_session(visit: Visit) -> Response:
    """Ends a session."""
    await visit.act("session_end", SessionRef(VERSION, visit.path["id"]))
    return visit.see("/settings", "session_ended")


_WRITE: Final = "operators:write"
ROWS = (
    PageRow(path="/settings", show=show),
    PageRow(path="/settings/check", act=check, act_needs="settings:read", deployment=True),
    PageRow(path="/settings/reload", act=reload, act_needs="settings:write", deployment=True),
    PageRow(path="/settings/operators", act=add_operator, act_needs=_WRITE),
    PageRow(path="/settings/operators/{id}", act=change_operator, act_needs=_WRITE),
    PageRow(path="/settings/operators/{id}/invite", act=invite, act_needs=_WRITE),
    PageRow(path="/settings/operators/{id}/remove", act=remove_operator, act_needs=_WRITE),
    PageRow(path="/settings/keys", act=add_key, act_needs=_WRITE),
    PageRow(path="/settings/keys/{id}/revoke", act=revoke_key, act_needs=_WRITE),
    PageRow(path="/settings/sessions/{id}/end", act=end_session, act_needs=_WRITE),
)
