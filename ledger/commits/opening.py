"""Owns what a ledger writes at its start, and when its settings change: the catalogue, its price rows, and upstream accounts' opening credit."""

from collections.abc import Collection, Mapping

import msgspec
from msgspec import Struct

from ledger.commits.load_save import save
from ledger.prices.offers import Catalogue, encode_price, price_ref
from ledger.rules.book import Book, Rules
from ledger.rules.rows import UPSTREAM_DEPOSITS, Kind, upstream_id
from ledger.store.base import Store, Transaction
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.catalogue.model import Model
from schemas.money.pricing import Price

_encode = msgspec.json.Encoder(decimal_format="string").encode


async def write_catalogue(store: Store, models: tuple[Model, ...], pools: tuple[PoolSettings, ...]) -> None:
    """Writes the tables `models`, `prices` and `upstream_accounts`, and applies opening credits, once each."""
    async with store.write() as tx:
        await write_all(tx, models, pools)


async def write_all(tx: Transaction, models: tuple[Model, ...], pools: tuple[PoolSettings, ...]) -> None:
    """The same in a transaction that does more."""
    await _write_models(tx, models)
    await write_prices(tx, {price_ref(price): price for model in models for price in model.prices})
    known = {row[0] for row in await tx.fetch("SELECT id FROM models")}
    await _forget_models(tx, known - {model.id for model in models})
    await _open_upstreams(tx, pools)


class Changes(Struct, frozen=True):
    """What a catalogue has that another has not: thousands of models stay as they are when a file changes."""

    models: tuple[Model, ...]
    gone: frozenset[str]
    prices: Mapping[str, Price]


def changes(old: Catalogue, new: Catalogue) -> Changes:
    """From one to the other."""
    return Changes(
        tuple(model for model in new.sorted if old.models.get(model.id) != model),
        frozenset(old.models.keys() - new.models.keys()),
        {ref: price for ref, price in new.prices.items() if ref not in old.prices},
    )


async def write_changes(store: Store, found: Changes, pools: tuple[PoolSettings, ...]) -> None:
    """Writes what differs from what is written already: few rows, since calls wait meanwhile."""
    async with store.write() as tx:
        await write_some(tx, found, pools)


async def write_some(tx: Transaction, found: Changes, pools: tuple[PoolSettings, ...]) -> None:
    """The same in a transaction that does more."""
    await _write_models(tx, found.models)
    await write_prices(tx, found.prices)
    await _forget_models(tx, found.gone)
    await _open_upstreams(tx, pools)


async def _write_models(tx: Transaction, models: tuple[Model, ...]) -> None:
    for model in sorted(models, key=lambda one: one.id):
        await tx.execute(
            "INSERT INTO models (id, pool, provider, upstream, context, max_output, rate, body) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET pool = excluded.pool, "
            "provider = excluded.provider, upstream = excluded.upstream, context = excluded.context, "
            "max_output = excluded.max_output, rate = excluded.rate, body = excluded.body",
            model.id,
            model.pool,
            model.provider,
            model.upstream,
            model.context,
            model.max_output,
            str(model.rate),
            _encode(model).decode(),
        )


async def _forget_models(tx: Transaction, names: Collection[str]) -> None:
    for gone in sorted(names):
        await tx.execute("DELETE FROM models WHERE id = $1", gone)


async def _open_upstreams(tx: Transaction, pools: tuple[PoolSettings, ...]) -> None:
    for pool in sorted(pools, key=lambda one: one.name):
        for account in sorted(pool.accounts, key=lambda one: one.id):
            await _open_upstream(tx, pool.name, account)


async def write_prices(tx: Transaction, prices: Mapping[str, Price]) -> None:
    """Writes price rows by their references, where they are not there yet."""
    for ref, price in sorted(prices.items()):
        await tx.execute(
            "INSERT INTO prices (ref, body) VALUES ($1, $2) ON CONFLICT (ref) DO NOTHING",
            ref,
            encode_price(price),
        )


async def _open_upstream(tx: Transaction, pool: str, account: AccountSettings) -> None:
    """Applies an account's opening credit, the first time that it has one."""
    limited = account.credit_nano is not None
    await tx.execute(
        "INSERT INTO upstream_accounts (pool, id, limited, opening_nano, created_ms) "
        "VALUES ($1, $2, $3, NULL, $4) ON CONFLICT (pool, id) DO UPDATE SET limited = excluded.limited",
        pool,
        account.id,
        limited,
        tx.now_ms,
    )
    rows = await tx.fetch(
        f"SELECT opening_nano FROM upstream_accounts WHERE pool = $1 AND id = $2{tx.locked}",  # noqa: S608  tx.locked is the store's own word
        pool,
        account.id,
    )
    if account.credit_nano is None or rows[0][0] is not None:
        return
    await tx.execute(
        "UPDATE upstream_accounts SET opening_nano = $3 WHERE pool = $1 AND id = $2",
        pool,
        account.id,
        account.credit_nano,
    )
    account_id = upstream_id(pool, account.id)
    balance = await tx.fetch(f"SELECT posted_nano FROM accounts WHERE id = $1{tx.locked}", account_id)  # noqa: S608  as above
    book = Book(Catalogue(()), tx.now_ms, Rules())
    # Usage while the account was unlimited does not count against the new credit.
    book.move(
        account.credit_nano - (balance[0][0] if balance else 0),
        debit=UPSTREAM_DEPOSITS,
        credit=account_id,
        request_id=f"opening:{pool}:{account.id}",
        kind=Kind.OPENING,
    )
    await save(tx, book, None)
