"""Owns the routes of the configuration: what a deployment runs on, what its file would change, and to have that taken."""

from typing import Literal

from msgspec import Struct

from console.api.base import Call, Route, shaped
from runtime.ledger import Patience
from schemas.admin import reads
from schemas.admin.reasons import Reason
from schemas.admin.settings import SettingsCheck, SettingsQuery, SettingsReload, SettingsReloaded
from schemas.verbs.base import VERSION

PATIENCE = Patience(total_s=300.0, try_s=300.0)  # until every service is ready and has switched


class Setting(Struct, frozen=True, kw_only=True):
    """One setting by its place in a file. `value` is null for a secret, of which `is_set` says whether there is one.

    `is_set` is null where that is not known, as of credentials that only workers read. `restart` are the services that
    need one for a change.
    """

    place: str
    value: str | None
    is_set: bool | None
    restart: tuple[str, ...]


class Settings(Struct, frozen=True, kw_only=True):
    """What a deployment runs on. `ok` is false if a newer file was refused.

    With `together` a reload that is asked for here is taken by all services or by none; else by the ledger that answers.
    """

    object: Literal["settings"] = "settings"
    source: str
    generation: int
    ok: bool
    reloaded_at: int
    watched: bool
    together: bool
    values: tuple[Setting, ...]


class Change(Struct, frozen=True, kw_only=True):
    """One difference between a file and what runs: what needs a restart of `restart` stays as it was until then."""

    place: str
    what: str
    restart: tuple[str, ...]


class Check(Struct, frozen=True, kw_only=True):
    """What a reload would change, or the `problem` for which it would change nothing: it names file, table and key."""

    object: Literal["settings_check"] = "settings_check"
    ok: bool
    problem: str | None
    generation: int
    changes: tuple[Change, ...]


class Reload(Struct, frozen=True, kw_only=True):
    """What a reload has changed."""

    object: Literal["reload"] = "reload"
    id: str
    generation: int
    changes: tuple[Change, ...]


async def _show(call: Call) -> Settings:
    return await call.one(reads.SETTINGS, SettingsQuery(), Settings)


async def _check(call: Call) -> Check:
    return shaped((await call.read(reads.SETTINGS_CHECK, SettingsCheck(), PATIENCE)).rows[0], Check)


async def _reload(call: Call) -> Reload:
    id_ = (await call.act("settings_reload", SettingsReload()))["id"]
    form = SettingsReloaded(VERSION, id_)
    return shaped((await call.read(reads.SETTINGS_RELOADED, form, PATIENCE)).rows[0], Reload)


_BOUND = (Reason.ORGANIZATION_FORBIDDEN,)
SETTINGS = (
    Route(
        method="GET",
        path="/settings",
        summary="Show what the deployment runs on, never a secret",
        what="configuration",
        scope="settings:read",
        answer=Settings,
        handle=_show,
        reasons=_BOUND,
    ),
    Route(
        method="GET",
        path="/settings/check",
        summary="Say what a reload would change, and whether it could be made",
        what="configuration",
        scope="settings:read",
        answer=Check,
        handle=_check,
        reasons=_BOUND,
    ),
    Route(
        method="POST",
        path="/settings/reload",
        summary="Read the configuration again; what is wrong in it changes nothing",
        what="reload",
        scope="settings:write",
        answer=Reload,
        handle=_reload,
        reasons=(*_BOUND, Reason.CONFIG_REJECTED),
    ),
)
