"""Owns what is asked about a deployment's configuration: what it is, what a reload would change, and to reload it."""

from msgspec import Struct

from schemas.verbs.base import VERSION


class SettingsQuery(Struct, frozen=True, array_like=True):
    """Asks what a deployment runs on: of its secrets only whether they are set."""

    v: int = VERSION


class SettingsCheck(Struct, frozen=True, array_like=True):
    """Asks what the file would change, and whether it could be taken."""

    v: int = VERSION


class SettingsReload(Struct, frozen=True, array_like=True):
    """The act `settings_reload`: the right to have the file read, entered in the log. Its answer's `id` is what is then asked about."""

    v: int = VERSION


class SettingsReloaded(Struct, frozen=True, array_like=True):
    """Has the reload made that an act of the asker's has allowed, once, and asks what came of it."""

    v: int
    id: str
