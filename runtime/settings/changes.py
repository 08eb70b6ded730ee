"""Owns what differs between two settings, in words without any secret: what is live, what needs a restart, what is refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from runtime.catalogue.presets import CREDENTIALS
from runtime.settings.pools import AccountSettings, PoolSettings
from runtime.settings.settings import Settings
from runtime.toml import SettingsError

_EVERY = ("edge", "ledger", "worker")


class Change(Struct, frozen=True):
    """One difference. `place` is how people find it in their file; `restart` are the services that need one for it."""

    place: str
    what: str
    restart: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """For people."""
        after = f": needs a restart of {', '.join(self.restart)}" if self.restart else ""
        return f"{self.place}: {self.what}{after}"


class _Row(Struct, frozen=True):
    """A part of the settings that is compared as a whole."""

    place: str
    of: Callable[[Settings], Any]
    restart: tuple[str, ...] = ()
    secret: bool = False


ROWS = (
    _Row("[nats] url", lambda one: one.nats.url, _EVERY, secret=True),
    _Row("[nats] credentials", lambda one: (one.nats.passwords, one.nats.former), _EVERY, secret=True),
    _Row("[nats] replicas", lambda one: one.nats.replicas, _EVERY),
    _Row("[nats.tls]", lambda one: (one.nats.ca, one.nats.cert, one.nats.key), _EVERY, secret=True),
    _Row("[ledger] database_url", lambda one: one.database_url, ("ledger",), secret=True),
    _Row("[ledger] pepper", lambda one: (one.pepper, one.former_peppers), secret=True),
    _Row("[edge] host", lambda one: one.host, ("edge",)),
    _Row("[edge] port", lambda one: one.port, ("edge",)),
    _Row("[edge] full_wait_s", lambda one: one.full_wait_s),
    _Row("[edge] cors_origins", lambda one: one.cors_origins),
    _Row("[edge] keep_items", lambda one: one.keep_items, ("edge",)),
    _Row("[edge] usage_cost", lambda one: one.usage_cost, ("edge",)),
    _Row("[edge] pages", lambda one: one.pages, ("edge",)),
    _Row("[edge] drain_s", lambda one: one.connections.drain_s, ("edge",)),
    _Row("[edge] keep_alive_s", lambda one: one.connections.keep_alive_s, ("edge",)),
    _Row("[edge] trusted_proxies", lambda one: one.connections.trusted_proxies, ("edge",)),
    _Row("[edge] grace_s", lambda one: one.calls.grace_s, ("edge", "worker")),
    _Row("[console] enabled", lambda one: one.console.enabled, ("console",)),
    _Row("[console] host", lambda one: one.console.host, ("console",)),
    _Row("[console] port", lambda one: one.console.port, ("console",)),
    _Row("[console] public_url", lambda one: one.console.public_url),
    _Row("[console] trusted_proxy", lambda one: one.console.trusted_proxy, ("console",)),
    _Row("[console] trusted_proxies", lambda one: one.console.trusted_proxies),
    _Row("[console] allow_private_webhooks", lambda one: one.console.allow_private_webhooks, ("console",)),
    _Row("[console.oidc]", lambda one: one.console.oidc, secret=True),
    _Row("[calls] idle_s", lambda one: one.calls.idle_s, ("edge", "worker")),
    _Row("[calls] total_s", lambda one: one.calls.total_s, ("edge", "worker")),
    _Row("[calls] drain_s", lambda one: one.calls.drain_s, ("edge", "worker")),
    _Row("[metrics] host", lambda one: one.metrics_host, ("ledger", "worker")),
    _Row("[metrics] port", lambda one: one.metrics_port, ("ledger", "worker")),
    _Row("[billing] name", lambda one: one.billing.name),
    _Row("[billing] address", lambda one: one.billing.address),
    _Row("[billing] tax_id", lambda one: one.billing.tax_id),
    _Row("[billing] footer", lambda one: one.billing.footer),
    _Row("[billing] statement_timezone", lambda one: one.billing.statement_timezone),
    _Row("[billing.stripe]", lambda one: one.stripe, ("ledger", "console"), secret=True),
    _Row("[pricing] rate", lambda one: one.rate),
    _Row("[reload] watch", lambda one: one.watch),
    _Row("[reload] generation", lambda one: one.generation.number),
)
# Fields that follow from others, or name where a value was read.
DERIVED = frozenset(("accounts", "family", "made_by", "name", "id", "files", "keyless", "auth", "uplift"))


def differences(old: Settings, new: Settings, started: Settings) -> tuple[Change, ...]:
    """What differs, in the order of a file; what needs a restart, from what was `started` with.

    Raises SettingsError for what may not be changed this way.
    """
    found = []
    for row in ROWS:
        before = row.of(started if row.restart else old)
        if before != row.of(new):
            what = "changed" if row.secret else _what(before, row.of(new))
            found.append(Change(row.place, what, row.restart))
    found += _pools(old.pools, new.pools, new.source)
    # The catalogue's own rows follow their pools: only what the file says of a model is told.
    models = ({model.id: model for model in one.models if model.pinned} for one in (old, new))
    found += _rows("[[models]]", *models)
    found += _rows("[[aliases]]", *({alias.id: alias for alias in one.aliases} for one in (old, new)))
    return tuple(found)


def _what(before: object, after: object) -> str:
    plain = all(isinstance(one, int | float | Decimal | bool) for one in (before, after))
    return f"{before} -> {after}" if plain else "changed"


def _rows(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in (*new, *(name for name in old if name not in new)):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            yield Change(f"{place} {name}", "new" if before is None else "gone")
        elif before != after:
            fields = after.__struct_fields__
            told = (
                f"{field} {_what(getattr(before, field), getattr(after, field))}"
                for field in fields
                if getattr(before, field) != getattr(after, field)
            )
            yield Change(f"{place} {name}", ", ".join(told))


def _pools(old: Sequence[PoolSettings], new: Sequence[PoolSettings], source: str) -> Iterator[Change]:
    before = {pool.name: pool for pool in old}
    for pool in new:
        place, was = f"[pools.{pool.name}]", before.pop(pool.name, None)
        if was is None:
            yield Change(place, "new")
            continue
        for field in pool.__struct_fields__:
            if field not in DERIVED and getattr(was, field) != getattr(pool, field):
                yield Change(f"{place} {field}", _what(getattr(was, field), getattr(pool, field)))
        yield from _accounts(pool.name, was.accounts, pool.accounts, source)
    yield from (Change(f"[pools.{name}]", "gone") for name in before)


def _accounts(
    pool: str, old: Sequence[AccountSettings], new: Sequence[AccountSettings], source: str
) -> Iterator[Change]:
    before = {account.id: account for account in old}
    for account in new:
        place, was = f"[pools.{pool}.accounts] {account.id}", before.pop(account.id, None)
        if was is None:
            yield Change(place, "new")
            continue
        if None not in (was.credit_nano, account.credit_nano) and was.credit_nano != account.credit_nano:
            raise SettingsError(
                f"{source}: {place} credit_usd: is the opening credit, and applies once; "
                f"add to it with `tokn pool credit {pool} {account.id} USD`, and leave the figure as it was"
            )
        for field in account.__struct_fields__:
            values = getattr(was, field), getattr(account, field)
            if field not in DERIVED and values[0] != values[1]:
                what = "changed" if field in CREDENTIALS else _what(*values)
                yield Change(f"{place} {field.replace('_nano', '_usd')}", what)
    yield from (Change(f"[pools.{pool}.accounts] {name}", "gone") for name in before)


def kept(settings: Settings, started: Settings) -> Settings:
    """Settings with all that needs a restart as it was `started` with."""
    return structs.replace(
        settings,
        nats=started.nats,
        database_url=started.database_url,
        host=started.host,
        port=started.port,
        calls=started.calls,
        connections=started.connections,
        console=structs.replace(
            settings.console,
            enabled=started.console.enabled,
            host=started.console.host,
            port=started.console.port,
            trusted_proxy=started.console.trusted_proxy,
            allow_private_webhooks=started.console.allow_private_webhooks,
        ),
        keep_items=started.keep_items,
        usage_cost=started.usage_cost,
        public_url=started.public_url,
        pages=started.pages,
        metrics_host=started.metrics_host,
        metrics_port=started.metrics_port,
        data=started.data,
        stripe=started.stripe,
    )
