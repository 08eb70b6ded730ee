"""Owns the tables as the hot path writes them: columns and types from the rows, so that no statement is written twice."""

from typing import get_type_hints

from msgspec import Struct

from ledger.rules import rows

_SQL_TYPES = {str: "text", int: "bigint", bool: "boolean", bytes: "bytea"}


class Table(Struct, frozen=True):
    """A table with its columns, and each column's type in PostgreSQL. `once`: a row that is there already stays."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    once: bool = False


class Update(Struct, frozen=True):
    """An update of some columns by key."""

    table: Table
    sets: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row of parameters."""
        return self.sets + self.keys


def _table(name: str, row: type[Struct], *, once: bool = False) -> Table:
    hints = get_type_hints(row)
    names = row.__struct_fields__
    return Table(name, names, tuple(_SQL_TYPES[hints[column]] for column in names), once)


PROFILES = _table("profiles", rows.Profile)
ACCOUNTS = _table("accounts", rows.Account)
KEYS = _table("api_keys", rows.Key)
HOLDS = _table("holds", rows.Hold)
USAGE = _table("usage", rows.Usage)
PARKED = _table("parked_events", rows.Parked, once=True)
TRANSFERS = Table(
    "transfers",
    ("request_id", "kind", "attempt", "line", "debit", "credit", "amount_nano", "created_ms"),
    ("text", "text", "bigint", "bigint", "text", "text", "bigint", "bigint"),
)
RANGES = Table("stream_ranges", ("identity", "first_seq", "last_seq"), ("text", "bigint", "bigint"))

SET_BALANCES = Update(ACCOUNTS, ("posted_nano", "held_nano"), ("id",))
SET_CREDITS = Update(PROFILES, ("playground_credits_usd",), ("id",))
SET_STATUS = Update(KEYS, ("status", "revoked_ms"), ("id",))
SET_HOLDS = Update(HOLDS, ("held_nano", "attempt", "state", "lease_ms", "closed_ms"), ("request_id",))
_USAGE_KEY = ("request_id", "slot")
SET_USAGE = Update(USAGE, tuple(name for name in USAGE.columns if name not in _USAGE_KEY), _USAGE_KEY)


def columns(table: Table) -> str:
    """A table's columns for a SELECT, as the rows want them."""
    # The one column that is a decimal number in PostgreSQL is text everywhere else.
    return ", ".join(
        f"CAST({name} AS text)" if name == "playground_credits_usd" else name for name in table.columns
    )
