"""Owns the presets: the vendors that a pool may name, each a row of `presets.toml`."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from msgspec import Struct

from runtime.toml import Table, read
from schemas.bus.subjects import is_token
from schemas.catalogue.families import FAMILIES, SANDBOX
from schemas.catalogue.profiles import PROFILES

# What an account may be let in with. `profile` names one of the AWS credential files: the others are secrets.
CREDENTIALS = ("api_key", "access_key_id", "secret_access_key", "session_token", "bearer_token", "profile")
_FILE = Path(__file__).with_name("presets.toml")
_REGION = "{region}"
# Which ids of an account's own list stand for a row: its own, or also any of its `aliases`; or there is no such list.
LIST_RULES = ("aliases", "itself", "none")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


class Preset(Struct, frozen=True, kw_only=True):
    """One vendor. `name` is what callers, keys and bills call it; `family` is the code that speaks with it.

    `env` gives the variable of each credential, `signs` those of which one set says that there are credentials, and
    `region_env` those that name the region.
    `limit_field` is what a model that nothing is known of calls the output limit, at the vendor's own address; empty
    leaves it to the profile.
    `lists` is one of LIST_RULES.
    """

    name: str
    family: str
    profile: str
    base_url: str = ""
    env: dict[str, str] = {}
    signs: tuple[str, ...] = ()
    region_env: tuple[str, ...] = ()
    limit_field: str = ""
    lists: str = LIST_RULES[0]

    @property
    def needs_key(self) -> bool:
        """Whether an account has to have an `api_key`."""
        return "api_key" in self.env

    @property
    def needs_region(self) -> bool:
        """Whether an account has to name a region."""
        return _REGION in self.base_url

    def address(self, region: str) -> str:
        """Where an account of a region calls, unless it says otherwise; "" for a vendor without an address."""
        return self.base_url.replace(_REGION, region)


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name, in their file's order. Raises SettingsError if the file is damaged."""
    return read_presets(_FILE)


def read_presets(path: Path) -> dict[str, Preset]:
    """The presets of one file. Raises SettingsError: one line that names the file and the key."""
    root = read(path)
    found = {}
    for name in root.keys():  # noqa: SIM118  a Table is not a dict
        if not is_token(name):
            raise root.problem(name, "a preset's name is made of letters, digits, _ and -, at most 64")
        found[name] = _preset(name, root.table(name))
    root.done()
    return found


def _preset(name: str, row: Table) -> Preset:
    env = _env(row.table("env"))
    signs = _variables(row, "signs")
    base_url = row.text("base_url")
    if base_url and not base_url.startswith(("http://", "https://")):
        raise row.problem("base_url", "must start with https:// or http://")
    if "{" in base_url.replace(_REGION, ""):
        raise row.problem("base_url", f"has a placeholder other than {_REGION}")
    family = _one_of(row, "family", FAMILIES)
    if not base_url and family != SANDBOX:
        # A family's own address would get this vendor's key.
        raise row.problem("base_url", "is needed")
    preset = Preset(
        name=name,
        family=family,
        profile=_one_of(row, "profile", PROFILES),
        base_url=base_url.rstrip("/"),
        env=env,
        signs=signs or tuple(env.values()),
        region_env=_variables(row, "region_env"),
        limit_field=row.text("limit_field"),
        lists=_one_of(row, "lists", LIST_RULES) if row.has("lists") else LIST_RULES[0],
    )
    row.done()
    return preset


def _one_of(row: Table, key: str, allowed: tuple[str, ...]) -> str:
    value = row.needed(key)
    if value not in allowed:
        raise row.problem(key, f"{value!r} is not one of: {', '.join(allowed)}")
    return value


def _env(table: Table) -> dict[str, str]:
    env = {}
    for key in table.keys():  # noqa: SIM118  a Table is not a dict
        if key not in CREDENTIALS:
            raise table.problem(key, f"is not one of: {', '.join(CREDENTIALS)}")
        env[key] = _variable(table, key, table.text(key))
    return env


def _variables(row: Table, key: str) -> tuple[str, ...]:
    return tuple(_variable(row, key, one) for one in row.texts(key) or ())


def _variable(table: Table, key: str, name: str) -> str:
    if _VARIABLE.fullmatch(name) is None:
        raise table.problem(key, f"{name!r} is not the name of a variable")
    return name
