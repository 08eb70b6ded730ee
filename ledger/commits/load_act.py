"""Owns what an act loads beside its rows: once it has the audit log's head, it reads again what only acts change.

Every act locks the head, after the accounts that it changes. So acts of all ledgers come one after another, and what was
read before without a lock, such as whether a key is revoked, is read once more.
"""

from ledger.commits.fetching import fetch, fetch_by
from ledger.commits.load_save import Wanted
from ledger.commits.load_webhooks import load_webhooks
from ledger.rules.act_rows import Entry, Head
from ledger.rules.book import Book
from ledger.rules.rows import SOURCES, Account, Parked, Transfer, row_of
from ledger.store.base import Transaction
from ledger.store.statements import ENTRIES, PARKED, TRANSFERS, columns, table_of

_ENTRY_SQL = f"SELECT {columns(ENTRIES)} FROM audit_entries WHERE credential = $1 AND idempotency_key = $2"  # noqa: S608  made of our own column names
_LIMITED_SQL = "SELECT limited FROM upstream_accounts WHERE pool = $1 AND id = $2"
_PARKED_SQL = f"SELECT {columns(PARKED)} FROM parked_events WHERE request_id = $1 AND attempt = $2"  # noqa: S608  as above
_HEAD_SQL = f"SELECT {columns(table_of(Head))} FROM audit_head"  # noqa: S608  as above
_DEPOSITS_SQL = f"SELECT {columns(TRANSFERS)} FROM transfers WHERE kind = 'deposit' AND request_id "  # noqa: S608  as above
_ACCOUNTS_SQL = f"SELECT {columns(table_of(Account))} FROM accounts WHERE id "  # noqa: S608  as above


async def load_act(tx: Transaction, book: Book, names: Wanted) -> None:
    """Completes a book that `load` has filled, for the one act of its commit."""
    callers = [one.id for one in book.accounts.values()]
    if names.lots and callers:
        where = f"account_id {tx.among} AND lot_nano > 0 ORDER BY id{tx.locked}"
        await fetch(tx, book.credits, where, tx.array(callers))
    book.log.load(row_of(Head, row) for row in await tx.fetch(_HEAD_SQL + tx.locked))
    if names.record is not None and names.record[1]:
        for row in await tx.fetch(_ENTRY_SQL, *names.record):
            book.record = row_of(Entry, row)
    await _read_again(tx, book)
    await _load_credits(tx, book, names)
    await load_webhooks(tx, book, names)
    for row in await tx.fetch(_ACCOUNTS_SQL + tx.among, tx.array(SOURCES)):
        book.deposited_before_nano -= row_of(Account, row).posted_nano
    for pool, account in names.upstream:
        for row in await tx.fetch(_LIMITED_SQL, pool, account):
            book.upstream[pool, account] = bool(row[0])
    if names.parked is not None:
        rows = await tx.fetch(_PARKED_SQL, *names.parked)
        book.put_aside.load(row_of(Parked, row) for row in rows)
    await fetch_by(tx, book.accounts, "id", names.others, locked=True)


async def _load_credits(tx: Transaction, book: Book, names: Wanted) -> None:
    if names.deposits:
        for row in await tx.fetch(_DEPOSITS_SQL + tx.among, tx.array(names.deposits)):
            book.deposits[row[0]] = row_of(Transfer, row)
    if names.references:
        where = f"reference <> '' AND reference {tx.among}"
        await fetch(tx, book.credits, where, tx.array(names.references))
    if names.calls:
        await fetch(tx, book.credits, f"call <> '' AND call {tx.among}", tx.array(names.calls))


async def _read_again(tx: Transaction, book: Book) -> None:
    await fetch_by(tx, book.profiles, "id", [one.id for one in book.profiles.values()])
    await fetch_by(tx, book.keys, "id", [one.id for one in book.keys.values()])
