"""Owns what a ledger writes at its start: the catalogue, its price rows, and upstream accounts' opening credit."""

from collections.abc import Mapping

import msgspec

from ledger.commits.load_save import save
from ledger.prices.offers import Catalogue, encode_price, price_ref
from ledger.rules.book import Book, Rules
from ledger.rules.rows import UPSTREAM_DEPOSITS, Kind, upstream_id
from ledger.store.base import Store, Transaction
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.catalogue.model import Model
from schemas.money.pricing import Price

_MODELS = "SELECT id, pool, provider, upstream, context, max_output, rate, body FROM models"
_encode = msgspec.json.Encoder(decimal_format="string").encode


async def write_catalogue(store: Store, models: tuple[Model, ...], pools: tuple[PoolSettings, ...]) -> None:
    """Writes the tables `models`, `prices` and `upstream_accounts`, and applies opening credits, once each."""
    async with store.write() as tx:
        rows = {str(row[0]): tuple(row) for row in await tx.fetch(_MODELS)}
        for model in sorted(models, key=lambda one: one.id):
            row = (
                model.id,
                model.pool,
                model.provider,
                model.upstream,
                model.context,
                model.max_output,
                str(model.rate),
                _encode(model).decode(),
            )
            if rows.pop(model.id, None) == row:
                continue
            await tx.execute(
                "INSERT INTO models (id, pool, provider, upstream, context, max_output, rate, body) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET pool = excluded.pool, "
                "provider = excluded.provider, upstream = excluded.upstream, context = excluded.context, "
                "max_output = excluded.max_output, rate = excluded.rate, body = excluded.body",
                *row,
            )
        await write_prices(tx, {price_ref(price): price for model in models for price in model.prices})
        for gone in sorted(rows):
            await tx.execute("DELETE FROM models WHERE id = $1", gone)
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
