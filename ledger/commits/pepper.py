"""Owns the look at a start whether the books' keys were hashed with the pepper that this ledger has."""

import hmac

from ledger.store.base import Store
from runtime.settings.settings import SettingsError

_ONLY = "keys"
_TEXT = b"tokn: the pepper of these books"


async def check_pepper(store: Store, pepper: bytes) -> None:
    """Keeps what tells the pepper from another, in books that have nothing of it yet.

    Raises SettingsError for books of another pepper: all their keys would be unknown.
    """
    digest = hmac.digest(pepper, _TEXT, "sha256").hex()
    async with store.write() as tx:
        insert = "INSERT INTO peppers (id, digest) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
        await tx.execute(insert, _ONLY, digest)
        ((kept,),) = await tx.fetch("SELECT digest FROM peppers WHERE id = $1", _ONLY)
    if not hmac.compare_digest(kept, digest):
        raise SettingsError(
            "[ledger] pepper: the keys of these books were hashed with another one: "
            "restore the pepper that belongs to them (secrets.json of the data folder, or TOKN_PEPPER)"
        )
