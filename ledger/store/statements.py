"""Owns the tables as the hot path writes them: columns and types from the rows, so that no statement is written twice."""

from typing import get_type_hints

from msgspec import Struct

from ledger.rules import act_rows, event_rows, rows, statement_rows
from ledger.rules.rows import Row

_SQL_TYPES = {str: "text", int: "bigint", bool: "boolean", bytes: "bytea"}


class Table(Struct, frozen=True):
    """A table with its columns, and each column's type in PostgreSQL. `once`: a row that is there already stays.

    `adds` names a column of a row that is there already to which a new one's is added.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    once: bool = False
    adds: str = ""

    @property
    def conflict(self) -> str:
        """What an insert does where a row is there already; nothing to say where it fails."""
        if self.adds:
            added = f"{self.name}.{self.adds} + excluded.{self.adds}"
            return f" ON CONFLICT (id) DO UPDATE SET {self.adds} = {added}"
        return " ON CONFLICT DO NOTHING" if self.once else ""


class Update(Struct, frozen=True):
    """An update of some columns by key."""

    table: Table
    sets: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row of parameters."""
        return self.sets + self.keys


def table_of(kind: type[Row], *, once: bool = False) -> Table:
    """The table of a kind of row."""
    hints = get_type_hints(kind)
    names = kind.__struct_fields__
    return Table(kind.TABLE, names, tuple(_SQL_TYPES[hints[column]] for column in names), once)


def update_of(kind: type[Row]) -> Update:
    """What changes a row of a kind that is there."""
    return Update(table_of(kind), kind.changes(), kind.KEY)


# Sums of other accounts' changes, where there is not yet such an account with what it begins with.
DIFFERENCES = Table(
    "accounts",
    ("id", "kind", "posted_nano", "held_nano"),
    ("text", "text", "bigint", "bigint"),
    adds="posted_nano",
)
PROFILES = table_of(rows.Profile)
ACCOUNTS = table_of(rows.Account)
KEYS = table_of(rows.Key)
SECRETS = table_of(rows.KeySecret)
CAPS = table_of(rows.Cap)
CAP_PERIODS = table_of(rows.CapPeriod)
RATES = table_of(rows.Rate)
NEW_RATES = table_of(rows.Rate, once=True)
HOLDS = table_of(rows.Hold)
CANDIDATES = table_of(rows.Candidate)
USAGE = table_of(rows.UsageRow)
PARKED = table_of(rows.Parked, once=True)
TRANSFERS = table_of(rows.Transfer)
RANGES = table_of(rows.StreamRange)
SURPRISES = table_of(rows.Surprise, once=True)
CREDITS = table_of(act_rows.Credit)
ENTRIES = table_of(act_rows.Entry)
EVENTS = table_of(event_rows.EventRow, once=True)
ENDPOINTS = table_of(event_rows.Endpoint)
DELIVERIES = table_of(event_rows.DeliveryRow, once=True)
STATEMENTS = table_of(statement_rows.Statement)
STATEMENT_LINES = table_of(statement_rows.Line)


def columns(table: Table, alias: str = "") -> str:
    """A table's columns for a SELECT, as the rows want them; `alias` is what a join calls the table."""
    of = f"{alias}." if alias else ""
    # The one column that is a decimal number in PostgreSQL is text everywhere else.
    return ", ".join(
        f"CAST({of}{name} AS text)" if name == "playground_credits_usd" else f"{of}{name}"
        for name in table.columns
    )
