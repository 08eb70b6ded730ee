"""Owns which configuration is the newest that a ledger of these books took: what it sells, and how new it is."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct, structs

from ledger.store.base import Row, Transaction
from runtime.settings.generation import Generation
from runtime.settings.pools import PoolSettings, without_credentials
from runtime.settings.settings import Settings
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Model

Fetch = Callable[..., Awaitable[Sequence[Row]]]
_ONLY = "sold"
_LOOK_SQL = "SELECT number, changed_ms FROM configurations WHERE id = $1"
_READ_SQL = "SELECT number, changed_ms, body FROM configurations WHERE id = $1"


class _Sold(Struct, frozen=True, kw_only=True):
    """What of settings a ledger sells by. Nothing in it differs between two machines with the same file."""

    pools: tuple[PoolSettings, ...]
    models: tuple[Model, ...]
    aliases: tuple[Alias, ...]
    builtin_rows: bool


_encode = msgspec.json.Encoder(decimal_format="string", order="deterministic").encode
_decode = msgspec.json.Decoder(_Sold).decode


class Newest(Struct, frozen=True):
    """How new it is, and what it sells."""

    generation: Generation
    body: str


def body_of(settings: Settings) -> str:
    """What these settings sell, as the books keep it."""
    pools = tuple(map(_shared, settings.pools))
    rows = tuple(
        structs.replace(pool, rate=settings.rate if pool.rate is None else pool.rate) for pool in pools
    )
    sold = _Sold(
        pools=rows, models=settings.models, aliases=settings.aliases, builtin_rows=settings.builtin_rows
    )
    return _encode(sold).decode()


def _shared(pool: PoolSettings) -> PoolSettings:
    """A pool without what is another on each machine."""
    bare = without_credentials(pool)
    accounts = tuple(structs.replace(account, keyless=False) for account in bare.accounts)
    return structs.replace(bare, accounts=accounts, made_by=())


def selling(settings: Settings, body: str) -> Settings:
    """Settings that sell what a body says. Raises msgspec.MsgspecError for one that a newer version wrote, perhaps."""
    sold = _decode(body)
    return structs.replace(
        settings, pools=sold.pools, models=sold.models, aliases=sold.aliases, builtin_rows=sold.builtin_rows
    )


async def generation_in(fetch: Fetch) -> Generation:
    """How new the newest is."""
    rows = await fetch(_LOOK_SQL, _ONLY)
    return Generation(*rows[0]) if rows else Generation()


async def newest_in(fetch: Fetch) -> Newest | None:
    """The newest; None in books that have none yet."""
    rows = await fetch(_READ_SQL, _ONLY)
    return _row(rows[0]) if rows else None


def _row(row: Row) -> Newest:
    return Newest(Generation(row[0], row[1]), row[2])


def is_older(generation: Generation, body: str, newest: Newest | None) -> bool:
    """Whether a configuration has to stand back: another is newer, and says something else."""
    return newest is not None and generation.known and generation < newest.generation and body != newest.body


async def take(tx: Transaction, generation: Generation, body: str) -> Newest:
    """Makes a configuration the newest, unless it is older; answers with what is the newest then."""
    await tx.execute(
        "INSERT INTO configurations (id, number, changed_ms, body, taken_ms) VALUES ($1, 0, 0, '', 0) "
        "ON CONFLICT (id) DO NOTHING",
        _ONLY,
    )
    (row,) = await tx.fetch(_READ_SQL + tx.locked, _ONLY)
    known = _row(row)
    if is_older(generation, body, known):
        return known
    made = Newest(max(generation, known.generation), body)
    if made != known:
        await tx.execute(
            "UPDATE configurations SET number = $2, changed_ms = $3, body = $4, taken_ms = $5 WHERE id = $1",
            _ONLY,
            made.generation.number,
            made.generation.changed_ms,
            body,
            tx.now_ms,
        )
    return made
