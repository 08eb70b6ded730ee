"""Owns the reads that are not hot, as a ledger asks them: SQL that `make sql` compiled ahead of time."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ledger.store.base import Row, Store

COMPILED = Path(__file__).parent / "sql" / "queries.json"


class Compiled(Struct, frozen=True):
    """A statement's SQL with parameters $1, $2, …, and their names in that order."""

    sql: str
    names: tuple[str, ...]


_COMPILED = msgspec.json.decode(COMPILED.read_bytes(), type=dict[str, dict[str, Compiled]])


class Query:
    """A read of the books, by the name of its select."""

    def __init__(self, name: str) -> None:
        self.compiled = _COMPILED[name]

    async def fetch(self, store: Store, **values: str | int) -> Sequence[Row]:
        """All rows. The values are the statement's parameters by name; KeyError if one is missing. Raises StoreDown."""
        compiled = self.compiled[store.dialect]
        return await store.fetch(compiled.sql, *[values[name] for name in compiled.names])


KEY_BY_DIGEST = Query("KEY_BY_DIGEST")
KEY_BY_SECRET = Query("KEY_BY_SECRET")
KEY_BY_ID = Query("KEY_BY_ID")
KEYS_FIRST = Query("KEYS_FIRST")
KEYS_AFTER = Query("KEYS_AFTER")
KEYS_NAMED = Query("KEYS_NAMED")
SECRETS_OF_KEY = Query("SECRETS_OF_KEY")
ORGANIZATION = Query("ORGANIZATION")
ORGANIZATIONS = Query("ORGANIZATIONS")
CALLS = Query("CALLS")
CALLS_OF_KEY = Query("CALLS_OF_KEY")
NEWEST_CALL = Query("NEWEST_CALL")
RECEIPT = Query("RECEIPT")
ATTEMPTS = Query("ATTEMPTS")
HOLD = Query("HOLD")
