"""Owns settings as people are shown them: values as texts, and of a secret only whether it is set."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from runtime.catalogue.presets import CREDENTIALS
from runtime.settings.changes import DERIVED, ROWS
from runtime.settings.pools import AccountSettings, PoolSettings
from runtime.settings.settings import Settings
from schemas.money.amounts import nano_to_usd

ROWS_MAX: Final = 2_000  # so that they fit one message of the bus
NAMED_MAX: Final = 50  # models or aliases that are named in one row
TEXT_CHARS_MAX: Final = 1_000
_ADDRESS: Final = "base_url"
_CREDIT: Final = "credit_nano"


class Described(Struct, frozen=True):
    """One setting. `value` is None for a secret, of which `is_set` says whether there is one: None where that is not known here.

    `restart` are the services that need one for a change.
    """

    place: str
    value: str | None
    is_set: bool | None = None
    restart: tuple[str, ...] = ()


def described(settings: Settings) -> tuple[Described, ...]:
    """All that a file can say, in its order. What nobody has set has its default."""
    rows = [_row(row.place, row.of(settings), settings, row.restart, secret=row.secret) for row in ROWS]
    for pool in settings.pools:
        rows += _pool(pool, settings)
    models = [model.id for model in settings.models if model.pinned]
    rows += _named("[[models]]", models) + _named("[[aliases]]", [alias.id for alias in settings.aliases])
    return tuple(rows[:ROWS_MAX])


def _row(
    place: str, value: Any, settings: Settings, restart: tuple[str, ...] = (), *, secret: bool = False
) -> Described:
    if secret:
        return Described(place, None, _is_given(value) or place in (settings.given or ()), restart)
    return Described(place, _text(value), None, restart)


def _is_given(value: Any) -> bool:
    """Whether a secret, or one of several, is there."""
    return any(map(_is_given, value)) if isinstance(value, tuple) else bool(value)


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case tuple() | list():
            return ", ".join(map(_text, value))[:TEXT_CHARS_MAX]
        case Struct():
            fields = value.__struct_fields__
            return ", ".join(f"{name} {_text(getattr(value, name))}" for name in fields)
        case _:
            return str(value)[:TEXT_CHARS_MAX]


def _pool(pool: PoolSettings, settings: Settings) -> Iterator[Described]:
    place = f"[pools.{pool.name}]"
    for field in pool.__struct_fields__:
        value = getattr(pool, field)
        if field not in DERIVED and value not in (None, "", ()):
            yield _row(f"{place} {field}", value, settings)
    for account in pool.accounts:
        yield from _account(f"[pools.{pool.name}.accounts] {account.id}", account, settings)


def _account(place: str, account: AccountSettings, settings: Settings) -> Iterator[Described]:
    names = [f"{place} {field}" for field in CREDENTIALS if getattr(account, field)]
    names += [one for one in settings.given or () if one.startswith(f"{place} ") and one not in names]
    yield from (Described(name, None, is_set=True) for name in names)
    if not names:
        yield Described(f"{place} credentials", None, is_set=None if settings.given is None else False)
    for field in account.__struct_fields__:
        value = getattr(account, field)
        if field in CREDENTIALS or field in DERIVED or value in (None, "", (), {}):
            continue
        if field == _CREDIT:
            yield Described(f"{place} credit_usd", nano_to_usd(value))
        else:
            yield _row(f"{place} {field}", _bare(value) if field == _ADDRESS else value, settings)


def _bare(url: str) -> str:
    """An address without what may stand in it to be let in by."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _named(place: str, names: list[str]) -> list[Described]:
    if not names:
        return []
    more = f", and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return [Described(place, ", ".join(names[:NAMED_MAX])[:TEXT_CHARS_MAX] + more)]


def given(settings: Settings) -> tuple[str, ...]:
    """The places of the secrets that settings have."""
    found = [row.place for row in ROWS if row.secret and _is_given(row.of(settings))]
    for pool in settings.pools:
        for account in pool.accounts:
            place = f"[pools.{pool.name}.accounts] {account.id}"
            found += [f"{place} {field}" for field in CREDENTIALS if getattr(account, field)]
    return tuple(found)
