"""Owns how keys that change, and the organisations that own keys, are loaded and locked before any account.

A key is read without a lock by the calls that it pays for, and changed only under its lock: two changes never undo each
other. An organisation's row is locked by whatever gives it a key, or bounds all of its keys, so that none is missed.
"""

from ledger.commits.fetching import fetch_by
from ledger.rules.book import Book
from ledger.rules.limits.base import organization_scope
from ledger.rules.rows import playground_id, wallet_id
from ledger.store.base import Transaction

_BOUNDED_SQL = """
    SELECT account_id FROM api_keys AS k WHERE profile {among} AND (rpm > 0 OR tpm > 0 OR in_flight > 0
        OR EXISTS (SELECT 1 FROM caps AS c WHERE c.scope = 'key:' || k.id AND c.ended_ms = 0))
"""


async def load_owned(
    tx: Transaction, book: Book, keys: set[str], secrets_of: set[str], owners: set[str]
) -> None:
    """Loads keys and profiles by their ids, locked, and the secrets of some keys."""
    await fetch_by(tx, book.keys, "id", keys, locked=True)
    await fetch_by(tx, book.secrets, "key_id", secrets_of)
    await fetch_by(tx, book.profiles, "id", owners, locked=True)


async def account_ids(tx: Transaction, book: Book, owners: set[str], organizations: set[str]) -> set[str]:
    """The wallets of owners, and of organisations every account that their keys draw on."""
    ids = {wallet_id(owner) for owner in owners}
    if organizations:
        found: dict[str, set[str]] = {one: {wallet_id(one), playground_id(one)} for one in organizations}
        sql = f"SELECT DISTINCT profile, account_id FROM api_keys WHERE profile {tx.among}"  # noqa: S608  tx.among is the store's own word
        for profile, account in await tx.fetch(sql, tx.array(organizations)):
            found[profile].add(account)
        book.organizations.update(found)
        ids.update(*found.values())
    return ids


async def load_bounded(tx: Transaction, book: Book, owners: set[str]) -> None:
    """Finds what a cap or a limit bounds: owners with all their keys, and of organisations single accounts.

    The owners are locked, and those accounts, so that no bound comes or goes.
    """
    scopes = {organization_scope(one): one for one in owners}
    sql = f"SELECT scope FROM caps WHERE scope {tx.among} AND ended_ms = 0"  # noqa: S608  as above
    book.bounded_owners.update(scopes[row[0]] for row in await tx.fetch(sql, tx.array(scopes)))
    for one in owners:
        profile = book.profiles.get(one)
        if profile is not None and (profile.rpm or profile.tpm or profile.in_flight):
            book.bounded_owners.add(one)
    if book.organizations:
        rows = await tx.fetch(_BOUNDED_SQL.format(among=tx.among), tx.array(book.organizations))
        book.bounded.update(row[0] for row in rows)
