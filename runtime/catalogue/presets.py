"""Owns the presets: the vendors that a pool may name, each a row of `presets.toml`."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path

from msgspec import Struct, structs

from runtime.catalogue.quirks import Quirks, read_quirks
from runtime.toml import Table, read
from schemas.bus.subjects import is_token
from schemas.catalogue.families import FAMILIES, SANDBOX
from schemas.catalogue.forwarded import (
    BASES,
    CLIENT_TOOLS,
    COMPATIBLE,
    MORE_MAX,
    OPENAI,
    Forwarded,
    why_not_more,
)
from schemas.catalogue.profiles import COMPATIBLE_PROFILE, PROFILES

# What an account may be let in with. `profile` names one of the AWS credential files: the others are secrets.
CREDENTIALS = (
    "api_key",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "bearer_token",
    "profile",
    "google_credentials",
)
_FILE = Path(__file__).with_name("presets.toml")
PLACES = ("region", "resource", "project")  # what an address may have in braces, and an account then says
API_KEY, GOOGLE = "api-key", "google"
# How a credential is shown: `Authorization: Bearer`, the header `api-key`, or a bearer token that is minted from it.
AUTHS = ("bearer", API_KEY, GOOGLE)
GLOBAL = "global"  # the region of no place
_PLACE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", re.ASCII)
# Which ids of an account's own list stand for a row: its own, or also any of its `aliases`; or there is no such list.
LIST_RULES = ("aliases", "itself", "none")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


class Preset(Struct, frozen=True, kw_only=True):
    """One vendor. `name` is what callers, keys and bills call it; `family` is the code that speaks with it.

    `env` gives the variable of each credential, `signs` those of which one set says that there are credentials, and
    `region_env`, `resource_env` and `project_env` those that name what the address has in braces.
    A library of a worker may read variables by itself: `chain` is how those begin.
    `price_source` is the name under which the catalogue has the vendor's models and prices; empty for one that has
    none there. `limit_field` is what a model that nothing is known of calls the output limit, at the vendor's own
    address or by the vendor's own protocol; empty leaves it to the profile. Of a profile of another family it is every
    model's.
    `quirks` are those of a vendor that speaks OpenAI's protocol its own way.
    `forwards` is what of a request goes on to the vendor's own address, `auth` one of AUTHS.
    `global_url` takes the place of `base_url` in the region `global`; elsewhere prices are multiplied by
    `regional_factor`. The rows whose ids begin with `sells` are sold, and asked for with `upstream_prefix` before.
    `base_rows` are the presets whose rows a deployment may be one of: what is sold are then the operator's deployments
    alone, under names of their own.
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
    price_source: str = ""
    chain: tuple[str, ...] = ()
    quirks: Quirks | None = None
    forwards: Forwarded = Forwarded()
    resource_env: tuple[str, ...] = ()
    project_env: tuple[str, ...] = ()
    auth: str = "bearer"
    base_rows: tuple[str, ...] = ()
    global_url: str = ""
    regional_factor: Decimal | None = None
    sells: str = ""
    upstream_prefix: str = ""
    lists: str = LIST_RULES[0]

    @property
    def needs_key(self) -> bool:
        """Whether an account has to have an `api_key`."""
        return "api_key" in self.env

    @property
    def needs_region(self) -> bool:
        """Whether an account has to name a region."""
        return "region" in self.places

    @property
    def places(self) -> tuple[str, ...]:
        """Those of PLACES that its address has."""
        return tuple(place for place in PLACES if f"{{{place}}}" in self.base_url)

    def place_env(self, place: str) -> tuple[str, ...]:
        """The variables that name one of PLACES, the first that is set."""
        return {"region": self.region_env, "resource": self.resource_env, "project": self.project_env}[place]

    def sends(self, more: tuple[str, ...], *, own: bool) -> Forwarded:
        """What goes on from a pool with `more` fields of its own; `own` says that it is at the vendor's own address.

        A server elsewhere that speaks OpenAI's protocol is any compatible one.
        """
        base = COMPATIBLE if self.forwards.base == OPENAI and not own else self.forwards.base
        return structs.replace(self.forwards, base=base, more=(*self.forwards.more, *more))

    def address(self, region: str = "", resource: str = "", project: str = "") -> str:
        """Where an account calls, unless it says otherwise; "" for a vendor without an address."""
        found = self.global_url if self.global_url and region == GLOBAL else self.base_url
        for place, value in zip(PLACES, (region, resource, project), strict=True):
            found = found.replace(f"{{{place}}}", value)
        return found


def price_source(provider: str) -> str:
    """The name under which the catalogue has a vendor's models and prices; "" for one that has none there."""
    preset = presets().get(provider)
    return preset.price_source if preset is not None else ""


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
    signs = _variables(row, "signs") if row.has("signs") else tuple(env.values())
    base_url = _address(row, "base_url")
    family = _one_of(row, "family", FAMILIES)
    if not base_url and family != SANDBOX:
        # A family's own address would get this vendor's key.
        raise row.problem("base_url", "is needed")
    profile = _one_of(row, "profile", PROFILES)
    preset = Preset(
        name=name,
        family=family,
        profile=profile,
        base_url=base_url,
        env=env,
        signs=signs,
        region_env=_variables(row, "region_env"),
        limit_field=row.text("limit_field"),
        price_source=row.text("price_source"),
        chain=_variables(row, "chain"),
        quirks=read_quirks(row.table("quirks")) if profile == COMPATIBLE_PROFILE else None,
        forwards=_forwards(row),
        resource_env=_variables(row, "resource_env"),
        project_env=_variables(row, "project_env"),
        auth=_one_of(row, "auth", AUTHS) if row.has("auth") else AUTHS[0],
        base_rows=row.texts("base_rows") or (),
        global_url=_address(row, "global_url"),
        regional_factor=row.decimal("regional_factor", most=10),
        sells=row.text("sells"),
        upstream_prefix=row.text("upstream_prefix"),
        lists=_one_of(row, "lists", LIST_RULES) if row.has("lists") else LIST_RULES[0],
    )
    row.done()
    return preset


def _address(row: Table, key: str) -> str:
    address = row.text(key)
    if address and not address.startswith(("http://", "https://")):
        raise row.problem(key, "must start with https:// or http://")
    rest = address
    for place in PLACES:
        rest = rest.replace(f"{{{place}}}", "")
    if "{" in rest:
        raise row.problem(key, f"has a placeholder other than {', '.join(PLACES)}")
    return address.rstrip("/")


def is_place(value: str) -> bool:
    """Whether a value may stand in an address: a name, and nothing that would lead elsewhere."""
    return _PLACE.fullmatch(value) is not None


def _forwards(row: Table) -> Forwarded:
    return Forwarded(
        base=_one_of(row, "fields", BASES) if row.has("fields") else COMPATIBLE,
        more=more_fields(row, "more_fields"),
        tools=row.texts("tool_types") or CLIENT_TOOLS,
    )


def more_fields(table: Table, key: str) -> tuple[str, ...]:
    """The fields that a table forwards beside a base. Raises SettingsError for one that may move a price."""
    names = table.texts(key) or ()
    if len(names) > MORE_MAX:
        raise table.problem(key, f"has {len(names)} names; at most {MORE_MAX} can be added")
    for name in names:
        if why := why_not_more(name):
            raise table.problem(key, why)
    return tuple(dict.fromkeys(names))


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
