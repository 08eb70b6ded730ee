"""Owns configuration: `tokn.toml`, the environment, and the frozen settings that services are started with."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from runtime.settings.models import catalogue, read_rate
from runtime.toml import SettingsError, Table, read
from schemas.bus.subjects import Role, is_token
from schemas.catalogue.model import Model
from schemas.money.amounts import AmountError, usd_to_nano

__all__ = [
    "AccountSettings",
    "NatsSettings",
    "PoolSettings",
    "Settings",
    "SettingsError",
    "decode",
    "encode",
    "load",
    "redacted",
]

DEFAULT_FILE = Path("tokn.toml")
DEFAULT_RATE = Decimal("0.60")
PROVIDERS = ("openai", "anthropic", "gemini", "bedrock", "sandbox")
SANDBOX_WORDS_PER_S = 100
BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
_AWS_SIGNS = (  # variables that say that this machine has AWS credentials
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_SECRET_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
_ACCOUNT_SECRETS = ("api_key", "access_key_id", "secret_access_key", "session_token", "bearer_token")
_SECRET_BYTES_MAX = 64 * 1024


class AccountSettings(Struct, frozen=True, kw_only=True):
    """One upstream account with its credentials: only workers ever hold one.

    Empty text means that it was left out. `credit_nano` None is unlimited. The AWS fields are bedrock's.
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
    keyless: bool = False  # its key is a variable that is set but empty: the account is there, and out of use


class PoolSettings(Struct, frozen=True, kw_only=True):
    """One pool. `words_per_s` is the sandbox's pace; 0 is as fast as it goes."""

    name: str
    provider: str  # openai | anthropic | gemini | bedrock | sandbox
    rate: Decimal | None = None
    accounts: tuple[AccountSettings, ...] = ()
    words_per_s: float = SANDBOX_WORDS_PER_S


class NatsSettings(Struct, frozen=True, kw_only=True):
    """Where NATS is (addresses with commas between) and the password of each role; none at all means no auth.

    An empty `url` lets `tokn up` start a server of its own. `ca`, `cert` and `key` are paths of PEM files. `replicas` is
    on how many servers of a cluster each stream is kept.
    """

    url: str = ""
    replicas: int = 1
    passwords: dict[str, str] = {}
    ca: str = ""
    cert: str = ""
    key: str = ""


FULL_WAIT_S = 2.0
REPLICAS_MAX = 5  # what nats-server takes


class Settings(Struct, frozen=True, kw_only=True):
    """Everything a service is started with.

    `database_url` is `sqlite:///<absolute path>` or `postgresql+asyncpg://…`, `rate` the share of list price that is
    billed unless a pool or a model has its own (each model's `rate` has it resolved). A model may have no `prices`:
    the ledger then takes the price library's. `source` names the file for messages. Port 0 takes a free one.
    """

    nats: NatsSettings = NatsSettings()
    database_url: str = ""
    pepper: str = ""
    rate: Decimal = DEFAULT_RATE
    pools: tuple[PoolSettings, ...] = ()
    models: tuple[Model, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    full_wait_s: float = FULL_WAIT_S  # how long a call waits for a worker with room before it is a 429
    public_url: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    data: Path | None = None
    source: str = "the environment"


def load(
    config: Path | None,
    *,
    credentials: bool,
    books: bool = True,
    data: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Reads a file (None: `./tokn.toml` if there is one) and the environment.

    With `credentials` False, upstream secrets are not even read; with `books` False, neither are the database's address
    and the pepper. Raises SettingsError.
    """
    variables = os.environ if environment is None else environment
    if config is None and DEFAULT_FILE.is_file():
        config = DEFAULT_FILE
    root = read(config) if config is not None else Table("the environment", "", {})
    secrets = _Secrets(variables, config.parent if config is not None else Path())
    if data is None and (named := variables.get("TOKN_DATA")):
        data = Path(named)
    nats = _nats(root.table("nats"), secrets)
    ledger = root.table("ledger")
    resolve = secrets.resolve if books else _unread
    database_url = resolve(ledger, "database_url") or _sqlite(data)
    pepper = resolve(ledger, "pepper") or variables.get("TOKN_PEPPER", "")
    ledger.done()
    pricing = root.table("pricing")
    rate = read_rate(pricing)
    pricing.done()
    edge, metrics = root.table("edge"), root.table("metrics")
    settings = Settings(
        nats=nats,
        database_url=database_url,
        pepper=pepper,
        rate=DEFAULT_RATE if rate is None else rate,
        pools=_pools(root.table("pools"), secrets if credentials else None)
        if root.has("pools")
        else _environment_pools(variables, credentials=credentials),
        host=edge.text("host", "127.0.0.1"),
        port=edge.integer("port", 8000, least=0, most=65535) or 0,
        full_wait_s=float(FULL_WAIT_S if (wait := edge.decimal("full_wait_s", most=60)) is None else wait),
        public_url=variables.get("NEXT_PUBLIC_CREDEX_API_URL", "").rstrip("/"),
        metrics_host=metrics.text("host", "127.0.0.1"),
        metrics_port=metrics.integer("port", 0, least=0, most=65535) or 0,
        data=data.absolute() if data is not None else None,
        source=root.file,
    )
    edge.done()
    metrics.done()
    providers = {pool.name: pool.provider for pool in settings.pools}
    rates = {pool.name: pool.rate for pool in settings.pools}
    models = catalogue(root.tables("models"), providers, rates, settings.rate, _own_pools(settings.pools))
    root.done()
    return structs.replace(settings, models=models)


def _sqlite(data: Path | None) -> str:
    return f"sqlite:///{data.absolute() / 'ledger.db'}" if data is not None else ""


def _unread(table: Table, key: str) -> str:
    table.text(key)  # it may be there, and it is somebody else's
    return ""


class _Secrets:
    """Resolves `env:NAME`, `file:PATH` (from the file's own folder) or the value itself."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self._variables = variables
        self._folder = folder

    def resolve(self, table: Table, key: str) -> str:
        """The value behind a key, empty if the key is not there."""
        text = table.text(key)
        if text.startswith("env:"):
            value = self._variables.get(text[4:])
            if value is None:
                raise table.problem(key, f"the environment variable {text[4:]} is not set")
            return value
        if text.startswith("file:"):
            try:
                with (self._folder / text[5:]).open("rb") as file:
                    return file.read(_SECRET_BYTES_MAX).decode().strip()
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not text"
                raise table.problem(key, f"the file {text[5:]} cannot be read: {why}") from None
        return text


def _nats(table: Table, secrets: _Secrets) -> NatsSettings:
    url = secrets.resolve(table, "url")
    passwords: dict[str, str] = {}
    for line in secrets.resolve(table, "credentials").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in {role.value for role in Role}:
            raise table.problem("credentials", f"lines are `role password`; roles are {', '.join(Role)}")
        passwords[words[0]] = words[1]
    if passwords and not url:
        raise table.problem("credentials", "stand without a url")
    replicas = table.integer("replicas", 1, most=REPLICAS_MAX) or 1
    if replicas > 1 and not url:
        raise table.problem("replicas", "needs a url: the server that tokn up starts is a single one")
    tls = table.table("tls")
    settings = NatsSettings(
        url=url,
        replicas=replicas,
        passwords=passwords,
        ca=tls.text("ca"),
        cert=tls.text("cert"),
        key=tls.text("key"),
    )
    for key in ("ca", "cert", "key"):
        path = getattr(settings, key)
        if path and not os.access(path, os.R_OK):
            raise tls.problem(key, f"the file {path} cannot be read")
    tls.done()
    table.done()
    return settings


def _pools(table: Table, secrets: _Secrets | None) -> tuple[PoolSettings, ...]:
    pools = []
    for name in table.keys():  # noqa: SIM118  a Table is not a dict
        if not is_token(name):
            raise table.problem(name, "a pool's name is made of letters, digits, _ and -, at most 64")
        pools.append(_pool(name, table.table(name), secrets))
    return tuple(pools)


def _pool(name: str, table: Table, secrets: _Secrets | None) -> PoolSettings:
    provider = table.needed("provider")
    if provider not in PROVIDERS:
        raise table.problem("provider", f"{provider!r} is not one of: {', '.join(PROVIDERS)}")
    rate = read_rate(table)
    accounts: list[AccountSettings] = []
    for row in table.tables("accounts"):
        account = _account(row, provider, secrets)
        if account.id in {other.id for other in accounts}:
            raise row.problem("id", f"two accounts of this pool are called {account.id!r}")
        accounts.append(account)
    if not accounts:
        if provider != "sandbox":
            raise table.problem("accounts", "at least one account is needed")
        accounts.append(AccountSettings(id="sandbox"))
    words = (
        table.decimal("words_per_s", Decimal(SANDBOX_WORDS_PER_S), most=1_000_000)
        if provider == "sandbox"
        else Decimal(0)
    )
    table.done()
    return PoolSettings(
        name=name, provider=provider, rate=rate, accounts=tuple(accounts), words_per_s=float(words or 0)
    )


def _account(row: Table, provider: str, secrets: _Secrets | None) -> AccountSettings:
    account_id = row.needed("id")
    if not is_token(account_id):
        raise row.problem("id", "is made of letters, digits, _ and -, at most 64")
    keyed = row.has("api_key")
    found: dict[str, Any] = {}
    for key in _ACCOUNT_SECRETS:
        found[key] = secrets.resolve(row, key) if secrets is not None else _unread(row, key)
    credit = row.decimal("credit_usd")
    try:
        credit_nano = None if credit is None else usd_to_nano(str(credit))
    except AmountError as error:
        raise row.problem("credit_usd", str(error)) from None
    region = row.text("region")
    if provider == "bedrock" and not region:
        raise row.problem("region", "is needed for bedrock")
    base_url = row.text("base_url") or _base_url(provider, region)
    if base_url and not base_url.startswith(("http://", "https://")):
        raise row.problem("base_url", "must start with https:// or http://")
    account = AccountSettings(
        id=account_id,
        base_url=base_url.rstrip("/"),
        credit_nano=credit_nano,
        max_inflight=row.integer("max_inflight", 256, most=100_000) or 256,
        organization=row.text("organization"),
        project=row.text("project"),
        region=region,
        profile=row.text("profile"),
        **found,
    )
    if secrets is not None and provider in BASE_URLS and not account.api_key:
        if not keyed:
            raise row.problem("api_key", "is needed")
        account = structs.replace(account, keyless=True)
    if bool(account.access_key_id) != bool(account.secret_access_key):
        raise row.problem("access_key_id", "and secret_access_key come together")
    row.done()
    return account


def _own_pools(pools: tuple[PoolSettings, ...]) -> frozenset[str]:
    """The pools whose every account is at the address of its provider itself."""
    return frozenset(
        pool.name
        for pool in pools
        if all(account.base_url == _base_url(pool.provider, account.region) for account in pool.accounts)
    )


def _base_url(provider: str, region: str) -> str:
    if provider == "bedrock":
        return f"https://bedrock-runtime.{region}.amazonaws.com"
    return BASE_URLS.get(provider, "")


def _environment_pools(variables: Mapping[str, str], *, credentials: bool) -> tuple[PoolSettings, ...]:
    """Pools of the providers whose usual variables are set, and the sandbox."""
    pools = []
    for name, variable in zip(BASE_URLS, _SECRET_VARIABLES, strict=True):
        if variables.get(variable):
            account = AccountSettings(
                id="main", base_url=BASE_URLS[name], api_key=variables[variable] if credentials else ""
            )
            pools.append(PoolSettings(name=name, provider=name, accounts=(account,)))
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or ""
    if region and any(variables.get(sign) for sign in _AWS_SIGNS):
        account = AccountSettings(id="main", base_url=_base_url("bedrock", region), region=region)
        if credentials:
            account = structs.replace(
                account,
                access_key_id=variables.get("AWS_ACCESS_KEY_ID", ""),
                secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY", ""),
                session_token=variables.get("AWS_SESSION_TOKEN", ""),
                profile=variables.get("AWS_PROFILE", ""),
                bearer_token=variables.get("AWS_BEARER_TOKEN_BEDROCK", ""),
            )
        pools.append(PoolSettings(name="bedrock", provider="bedrock", accounts=(account,)))
    pools.append(PoolSettings(name="sandbox", provider="sandbox", accounts=(AccountSettings(id="sandbox"),)))
    return tuple(pools)


def redacted(settings: Settings, roles: tuple[Role, ...], *, credentials: bool, pepper: bool) -> Settings:
    """What one service needs of the settings: its own roles' passwords, and secrets only where it uses them."""
    pools = settings.pools
    if not credentials:
        blank = dict.fromkeys((*_ACCOUNT_SECRETS, "profile"), "")
        pools = tuple(
            structs.replace(
                pool, accounts=tuple(structs.replace(account, **blank) for account in pool.accounts)
            )
            for pool in pools
        )
    own = {role.value: settings.nats.passwords.get(role.value, "") for role in roles}
    passwords = {role: password for role, password in own.items() if password}
    return structs.replace(
        settings,
        pools=pools,
        nats=structs.replace(settings.nats, passwords=passwords),
        pepper=settings.pepper if pepper else "",
        database_url=settings.database_url if pepper else "",
    )


def encode(settings: Settings) -> bytes:
    """Settings as JSON, to be handed to a child process."""
    return msgspec.json.encode(settings, enc_hook=str)


def decode(data: bytes) -> Settings:
    """What `encode` wrote. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(data, type=Settings, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    if issubclass(kind, Path):
        return Path(str(value))
    raise NotImplementedError(kind)
