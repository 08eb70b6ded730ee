"""Owns configuration: `tokn.toml`, the environment, and the frozen settings that services are started with."""

import datetime as dt
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from runtime.settings.aliases import read_aliases
from runtime.settings.billing import BILLING, BillingSettings, read_billing
from runtime.settings.calls import CallSettings, read_calls
from runtime.settings.console import ConsoleSettings, read_console
from runtime.settings.edge import ConnectionSettings, read_connections
from runtime.settings.generation import Generation, changed_ms, read_generation
from runtime.settings.models import catalogue
from runtime.settings.origins import EVERY_ORIGIN, read_origins
from runtime.settings.pools import (
    AccountSettings,
    PoolSettings,
    environment_pools,
    read_pools,
    read_rate,
    without_credentials,
)
from runtime.settings.secrets import Secrets, all_unread, unread
from runtime.settings.stripe import StripeSettings, read_stripe, without_secrets
from runtime.toml import SettingsError, Table, read
from schemas.bus.subjects import Role
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Model
from schemas.permissions import is_user

__all__ = [
    "AccountSettings",
    "CallSettings",
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
FULL_WAIT_S = 2.0
PEPPERS_MAX = 4
REPLICAS_MAX = 5  # what nats-server takes


class NatsSettings(Struct, frozen=True, kw_only=True):
    """Where NATS is (addresses with commas between) and the password of each role (or role and pool); none at all means no auth.

    `former` are the passwords of before, of roles that have two: they are shown where a server does not know the new one yet.

    An empty `url` lets `tokn up` start a server of its own. `ca`, `cert` and `key` are paths of PEM files. `replicas` is
    on how many servers of a cluster each stream is kept.
    """

    url: str = ""
    replicas: int = 1
    passwords: dict[str, str] = {}
    former: dict[str, str] = {}
    ca: str = ""
    cert: str = ""
    key: str = ""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything a service is started with.

    `database_url` is `sqlite:///<absolute path>` or `postgresql+asyncpg://…`, `rate` the share of list price that is
    billed unless a pool or a model has its own (each model's `rate` has it resolved). A model may have no `prices`:
    the ledger then takes the catalogue's. `guessed_pictures` are the ids of models that take pictures though no
    row says the most tokens of one. `source` names the file for messages. Port 0 takes a free one.
    """

    nats: NatsSettings = NatsSettings()
    database_url: str = ""
    pepper: str = ""
    former_peppers: tuple[str, ...] = ()  # that keys may still be hashed with
    rate: Decimal = DEFAULT_RATE
    pools: tuple[PoolSettings, ...] = ()
    models: tuple[Model, ...] = ()
    aliases: tuple[Alias, ...] = ()
    guessed_pictures: tuple[str, ...] = ()
    builtin_rows: bool = (
        False  # the catalogue's rows of the pools' presets are sold too; `runtime.settings.sold` has them
    )
    host: str = "127.0.0.1"
    port: int = 8000
    full_wait_s: float = FULL_WAIT_S  # how long a call waits for a worker with room before it is a 429
    calls: CallSettings = CallSettings()
    connections: ConnectionSettings = ConnectionSettings()
    console: ConsoleSettings = ConsoleSettings()
    cors_origins: tuple[str, ...] = (EVERY_ORIGIN,)  # of pages that may read what an edge answers
    keep_items: bool = True  # items of answers are kept for an hour, for references in later requests
    usage_cost: bool = False  # usage objects say what a call is billed, whether its caller asks or not
    public_url: str = ""
    pages: bool = True  # an edge answers browsers: its first page, its reference and its playground
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    data: Path | None = None
    watch: bool = False  # a change of the files is a reload
    billing: BillingSettings = BILLING
    stripe: StripeSettings | None = None  # None: nobody can pay here
    generation: Generation = Generation()  # of the file, among those of other ledgers
    files: tuple[
        str, ...
    ] = ()  # the configuration file and those of secrets, absolute, as far as they were read
    source: str = "the environment"
    given: tuple[str, ...] | None = (
        None  # where secrets were set that a service is not told; None: nobody looked
    )


def load(
    config: Path | None,
    *,
    credentials: bool,
    books: bool = True,
    pages: bool = True,
    data: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Reads a file (None: `./tokn.toml` if there is one) and the environment.

    With `credentials` False, upstream secrets are not even read; with `books` False, neither are the database's address
    and the pepper; with `pages` False, neither are the console's. Raises SettingsError.
    """
    variables = os.environ if environment is None else environment
    if config is None and DEFAULT_FILE.is_file():
        config = DEFAULT_FILE
    changed = changed_ms(config)
    root = read(config) if config is not None else Table("the environment", "", {})
    secrets = Secrets(variables, config.parent if config is not None else Path())
    if data is None and (named := variables.get("TOKN_DATA")):
        data = Path(named)
    nats = _nats(root.table("nats"), secrets)
    ledger = root.table("ledger")
    resolve = secrets.resolve if books else unread
    database_url = resolve(ledger, "database_url") or _sqlite(data)
    peppers = (secrets.resolve_all if books else all_unread)(ledger, "pepper")
    if len(set(peppers)) < len(peppers) or len(peppers) > PEPPERS_MAX:
        raise ledger.problem("pepper", f"a list has at most {PEPPERS_MAX}, each once")
    peppers = peppers or (variables.get("TOKN_PEPPER", ""),)
    ledger.done()
    rate = _rate(root.table("pricing"))
    edge, metrics, reload, billing = map(root.table, ("edge", "metrics", "reload", "billing"))
    settings = Settings(
        nats=nats,
        database_url=database_url,
        pepper=peppers[0],
        former_peppers=peppers[1:],
        rate=rate,
        pools=read_pools(root.table("pools"), secrets if credentials else None)
        if root.has("pools")
        else environment_pools(variables, credentials=credentials),
        host=edge.text("host", "127.0.0.1"),
        port=edge.integer("port", 8000, least=0, most=65535) or 0,
        full_wait_s=float(FULL_WAIT_S if (wait := edge.decimal("full_wait_s", most=60)) is None else wait),
        calls=read_calls(root.table("calls"), edge),
        connections=read_connections(edge),
        console=read_console(root.table("console"), secrets.resolve if pages else unread),
        cors_origins=read_origins(edge),
        keep_items=edge.boolean("keep_items", default=True),
        usage_cost=edge.boolean("usage_cost", default=False),
        pages=edge.boolean("pages", default=True),
        public_url=variables.get("NEXT_PUBLIC_CREDEX_API_URL", "").rstrip("/"),
        metrics_host=metrics.text("host", "127.0.0.1"),
        metrics_port=metrics.integer("port", 0, least=0, most=65535) or 0,
        data=data.absolute() if data is not None else None,
        watch=reload.boolean("watch", default=False),
        stripe=read_stripe(billing, resolve, secrets=books),
        billing=read_billing(billing),
        generation=read_generation(reload, changed),
        files=(*((str(config.absolute()),) if config is not None else ()), *secrets.files),
        source=root.file,
    )
    for table in (edge, metrics, reload):
        table.done()
    models, guessed_pictures = catalogue(root.tables("models"), settings.pools, settings.rate)
    settings = structs.replace(settings, models=models, guessed_pictures=guessed_pictures, builtin_rows=True)
    aliases = _aliases(root.tables("aliases"), settings)
    root.done()
    return structs.replace(settings, aliases=aliases)


def _rate(pricing: Table) -> Decimal:
    rate = read_rate(pricing)
    pricing.done()
    return DEFAULT_RATE if rate is None else rate


def _aliases(tables: list[Table], settings: Settings) -> tuple[Alias, ...]:
    if not tables:
        return ()
    from runtime.settings.sold import sold  # noqa: PLC0415  only files with aliases need the rows

    # On the first of days nothing has been shut down: an alias stays valid when one of its models goes.
    models = list(sold(settings, dt.date.min))
    fixed = {model.id for model in settings.models}
    bare = {model.id for model in models if model.id == model.upstream} - fixed
    return read_aliases(tables, {model.id for model in models}, bare)


def _sqlite(data: Path | None) -> str:
    return f"sqlite:///{data.absolute() / 'ledger.db'}" if data is not None else ""


def _nats(table: Table, secrets: Secrets) -> NatsSettings:
    url = secrets.resolve(table, "url")
    try:
        passwords, former = read_credentials(secrets.resolve(table, "credentials"))
    except ValueError as error:
        raise table.problem("credentials", str(error)) from None
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
        former=former,
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


def read_credentials(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The passwords of all users in lines of `role password`, and those of before: a user's second line.

    Raises ValueError.
    """
    passwords: dict[str, str] = {}
    former: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not is_user(words[0]):
            raise ValueError(
                f"lines are `role password`; roles are {', '.join(Role)}, or worker.POOL and usage.POOL"
            )
        user, password = words
        if user in former or passwords.get(user) == password:
            raise ValueError(f"{user} has one line, or two: the new password and then that of before")
        (former if user in passwords else passwords)[user] = password
    return passwords, former


def redacted(
    settings: Settings, roles: tuple[Role, ...], *, credentials: bool, pepper: bool, pages: bool = False
) -> Settings:
    """What one service needs of the settings: its own roles' passwords, and secrets only where it uses them."""
    pools = settings.pools
    if not credentials:
        pools = tuple(map(without_credentials, pools))
    passwords, former = (
        {user: password for user, password in of.items() if user.partition(".")[0] in roles and password}
        for of in (settings.nats.passwords, settings.nats.former)
    )
    console = settings.console
    if console.oidc is not None and not pages:
        console = structs.replace(console, oidc=structs.replace(console.oidc, client_secret=""))
    return structs.replace(
        settings,
        pools=pools,
        console=console,
        nats=structs.replace(settings.nats, passwords=passwords, former=former),
        pepper=settings.pepper if pepper else "",
        former_peppers=settings.former_peppers if pepper else (),
        database_url=settings.database_url if pepper else "",
        stripe=settings.stripe if pepper else without_secrets(settings.stripe),
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
