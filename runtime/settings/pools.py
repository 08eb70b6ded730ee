"""Owns pools and their upstream accounts: from `[pools]` in a file, else from the presets' usual variables."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from runtime.catalogue.presets import (
    API_KEY,
    CREDENTIALS,
    GLOBAL,
    GOOGLE,
    PLACES,
    Preset,
    is_place,
    more_fields,
    presets,
)
from runtime.settings.fairness import FAIR, Fairness, read_fairness
from runtime.settings.secrets import Secrets, unread
from runtime.toml import SettingsError, Table
from schemas.bus.subjects import is_token
from schemas.catalogue.families import SANDBOX
from schemas.catalogue.forwarded import Forwarded
from schemas.catalogue.model import HANGUPS
from schemas.catalogue.regions import REGIONAL
from schemas.money.amounts import AmountError, usd_to_nano

SANDBOX_WORDS_PER_S = 100
_RATE_MAX = 10
_API_VERSION = re.compile(r"20\d{2}-\d{2}-\d{2}(?:-preview)?", re.ASCII)
_OPENAI = "openai"  # the family, and the vendor whose own servers speak the Responses dialect
_PROFILE = "profile"  # a credential, and no secret: it names one of the AWS credential files


class AccountSettings(Struct, frozen=True, kw_only=True):
    """One upstream account with its credentials: only workers ever hold one.

    Empty text means that it was left out. `credit_nano` None is unlimited. The AWS fields are bedrock's. `auth` is how
    its preset shows a credential, `api_version` one of Azure's older routes, and `uplift` what its region adds to prices,
    by the name that rows have for it. `google_credentials` is a credential file, or the path of one.
    """

    id: str
    base_url: str = ""
    api_key: str = ""
    credit_nano: int | None = None
    max_inflight: int = 256
    organization: str = ""
    project: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    profile: str = ""
    bearer_token: str = ""
    resource: str = ""
    auth: str = "bearer"
    api_version: str = ""
    google_credentials: str = ""
    uplift: str = ""
    own_host: bool = False  # its base_url leads to the vendor itself, though it is not the vendor's address
    keyless: bool = False  # its key is a variable that is set but empty: the account is there, and out of use
    files: dict[str, str] = {}  # the credentials that are in files, by their names here: absolute paths


class PoolSettings(Struct, frozen=True, kw_only=True):
    """One pool. `words_per_s` is the sandbox's pace; 0 is as fast as it goes.

    `extra_fields` are those that go on to its accounts beside what its preset's row lists. `on_hangup` is one of
    HANGUPS, or empty where each call's model decides.
    """

    name: str
    provider: str  # the name of a preset
    rate: Decimal | None = None
    accounts: tuple[AccountSettings, ...] = ()
    words_per_s: float = SANDBOX_WORDS_PER_S
    responses: bool = False  # its servers speak the Responses dialect, though they are not OpenAI's own
    family: str = ""  # the code that speaks with it; left out: of the provider's own name
    made_by: tuple[str, ...] = ()  # the variables that made it, where no file did
    extra_fields: tuple[str, ...] = ()
    fairness: Fairness = FAIR
    on_hangup: str = ""

    def __post_init__(self) -> None:
        if not self.family:
            structs.force_setattr(self, "family", self.provider)


def read_rate(table: Table) -> Decimal | None:
    """The share of list price that is billed, where a table sets one."""
    return table.decimal("rate", most=_RATE_MAX)


def read_hangup(table: Table) -> str:
    """What becomes of answers whose callers have left, where a table says so. Raises SettingsError."""
    said = table.text("on_hangup")
    if said and said not in HANGUPS:
        raise table.problem("on_hangup", f"{said!r} is not one of: {', '.join(HANGUPS)}")
    return said


def read_pools(table: Table, secrets: Secrets | None) -> tuple[PoolSettings, ...]:
    """The pools of a file; without `secrets` no credentials are read. Raises SettingsError."""
    pools = []
    for name in table.keys():  # noqa: SIM118  a Table is not a dict
        if not is_token(name):
            raise table.problem(name, "a pool's name is made of letters, digits, _ and -, at most 64")
        pools.append(_pool(name, table.table(name), secrets))
    return tuple(pools)


def _pool(name: str, table: Table, secrets: Secrets | None) -> PoolSettings:
    provider = table.needed("provider")
    preset = presets().get(provider)
    if preset is None:
        raise table.problem("provider", f"{provider!r} is not one of: {', '.join(presets())}")
    sandbox = preset.family == SANDBOX
    rate = read_rate(table)
    extra_fields = more_fields(table, "extra_fields")
    on_hangup = read_hangup(table)
    accounts: list[AccountSettings] = []
    for row in table.tables("accounts"):
        account = _account(row, preset, secrets)
        if account.id in {other.id for other in accounts}:
            raise row.problem("id", f"two accounts of this pool are called {account.id!r}")
        accounts.append(account)
    if not accounts:
        if not sandbox:
            raise table.problem("accounts", "at least one account is needed")
        accounts.append(AccountSettings(id=SANDBOX))
    words = (
        table.decimal("words_per_s", Decimal(SANDBOX_WORDS_PER_S), most=1_000_000) if sandbox else Decimal(0)
    )
    responses = preset.family == _OPENAI and table.boolean("responses", default=False)
    fairness = read_fairness(table)
    table.done()
    return PoolSettings(
        name=name,
        provider=provider,
        family=preset.family,
        rate=rate,
        accounts=tuple(accounts),
        words_per_s=float(words or 0),
        extra_fields=extra_fields,
        on_hangup=on_hangup,
        responses=responses,
        fairness=fairness,
    )


def _account(row: Table, preset: Preset, secrets: Secrets | None) -> AccountSettings:
    account_id = row.needed("id")
    if not is_token(account_id):
        raise row.problem("id", "is made of letters, digits, _ and -, at most 64")
    keyed = row.has("api_key")
    resolve = unread if secrets is None else secrets.resolve
    names = [key for key in CREDENTIALS if key != _PROFILE]
    files = {} if secrets is None else {key: path for key in names if (path := secrets.file(row, key))}
    found: dict[str, Any] = {key: resolve(row, key) for key in names}
    credit = row.decimal("credit_usd")
    try:
        credit_nano = None if credit is None else usd_to_nano(str(credit))
    except AmountError as error:
        raise row.problem("credit_usd", str(error)) from None
    base_url = row.text("base_url")
    places = _places(row, preset, elsewhere=bool(base_url))
    base_url = base_url or preset.address(**places)
    if base_url and not base_url.startswith(("http://", "https://")):
        raise row.problem("base_url", "must start with https:// or http://")
    account = AccountSettings(
        id=account_id,
        base_url=base_url.rstrip("/"),
        credit_nano=credit_nano,
        max_inflight=row.integer("max_inflight", 256, most=100_000) or 256,
        organization=row.text("organization"),
        auth=preset.auth,
        uplift=_uplift(preset, **places),
        api_version=_api_version(row) if preset.auth == API_KEY else "",
        **places,
        profile=row.text(_PROFILE),
        own_host=row.boolean("own_host", default=False),
        files=files,
        **found,
    )
    if secrets is not None and preset.needs_key and not account.api_key:
        if not keyed:
            raise row.problem("api_key", f'is needed, as in api_key = "env:{preset.env["api_key"]}"')
        account = structs.replace(account, keyless=True)
    if secrets is not None and preset.auth == GOOGLE and not account.google_credentials:
        raise row.problem("google_credentials", "is needed")
    if bool(account.access_key_id) != bool(account.secret_access_key):
        raise row.problem("access_key_id", "and secret_access_key come together")
    row.done()
    return account


def _places(row: Table, preset: Preset, *, elsewhere: bool) -> dict[str, Any]:
    """Where an account is. One `elsewhere` needs no more than its region."""
    found = {place: row.text(place) for place in PLACES if place != "resource" or place in preset.places}
    for place in preset.places:
        if not found[place]:
            if place == "region" or not elsewhere:
                raise row.problem(place, f"is needed for {preset.name}")
        elif not is_place(found[place]):
            raise row.problem(place, f"{found[place][:64]!r} is no name of one")
    return found


def _uplift(preset: Preset, region: str = "", **_: str) -> str:
    return REGIONAL if preset.regional_factor is not None and region != GLOBAL else ""


def _api_version(row: Table) -> str:
    version = row.text("api_version")
    if version and _API_VERSION.fullmatch(version) is None:
        raise row.problem("api_version", "must be a day like 2024-10-21, perhaps with -preview")
    return version


def own_pools(pools: tuple[PoolSettings, ...]) -> frozenset[str]:
    """The pools whose every account is at its provider itself: by its address, or because the file says so."""
    return frozenset(
        pool.name
        for pool in pools
        if all(
            account.own_host
            or account.base_url
            == presets()[pool.provider].address(account.region, account.resource, account.project)
            for account in pool.accounts
        )
    )


def forwarded(pool: PoolSettings, *, own: bool) -> Forwarded:
    """What of a request goes on from a pool; `own` says that it is at the address of its provider itself."""
    return presets()[pool.provider].sends(pool.extra_fields, own=own)


def responses_pools(pools: tuple[PoolSettings, ...]) -> frozenset[str]:
    """The pools whose servers speak the Responses dialect: OpenAI's own, and those that say so."""
    own = own_pools(pools)
    return frozenset(
        pool.name
        for pool in pools
        if pool.responses or (pool.provider == _OPENAI and pool.accounts and pool.name in own)
    )


def environment_pools(variables: Mapping[str, str], *, credentials: bool) -> tuple[PoolSettings, ...]:
    """A pool of each preset whose usual variables are set, and the sandbox's, in the presets' order."""
    pools = []
    for preset in presets().values():
        sign = _first_set(variables, preset.signs)
        named = {place: _first_set(variables, preset.place_env(place)) for place in preset.places}
        places: dict[str, Any] = {place: variables.get(name, "") for place, name in named.items()}
        if preset.family == SANDBOX:
            account = AccountSettings(id=SANDBOX)
        elif sign and all(places.values()):
            for place, value in places.items():
                if not is_place(value):
                    raise SettingsError(
                        f"the environment: {named[place]}: {value[:64]!r} is no name of a {place}"
                    )
            found: dict[str, Any] = {key: variables.get(variable, "") for key, variable in preset.env.items()}
            account = AccountSettings(
                id="main",
                base_url=preset.address(**places),
                auth=preset.auth,
                uplift=_uplift(preset, **places),
                **places,
                **(found if credentials else {}),
            )
        else:
            continue
        pools.append(
            PoolSettings(
                name=preset.name,
                provider=preset.name,
                family=preset.family,
                accounts=(account,),
                made_by=tuple(name for name in (sign, *named.values()) if name),
            )
        )
    return tuple(pools)


def _first_set(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The first of these variables that is set; "" if none is."""
    return next((name for name in names if variables.get(name)), "")


def without_credentials(pool: PoolSettings) -> PoolSettings:
    """A pool with nothing in it that lets anybody in."""
    blank = dict.fromkeys(CREDENTIALS, "")
    accounts = tuple(structs.replace(account, files={}, **blank) for account in pool.accounts)
    return structs.replace(pool, accounts=accounts)
