"""Owns the tables of the books as SQLModel declares them, for reads that are not hot and for the check of migrations.

A table that the hot path loads and writes is built from its row in `ledger.rules.rows`, which alone names its columns.
What SQL adds to the columns stands here: constraints, indexes, and the few columns of another type than their field's.
"""

from collections.abc import Mapping
from types import new_class
from typing import Any, get_type_hints

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlmodel import Field, SQLModel

from ledger.rules import act_rows, authority_rows, event_rows, rollup_rows, rows, statement_rows, topup_rows
from ledger.rules.rows import USAGE_BLOCK, Row

OPEN_STATES = "state IN ('open', 'estimated')"
_TYPES = {str: String, int: BigInteger, bool: Boolean, bytes: LargeBinary}


def _text(*, key: bool = False) -> Column[str]:
    return Column(String, primary_key=key, nullable=False)


def _big(*, key: bool = False) -> Column[int]:
    return Column(BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _later(kind: type[Integer | String | Boolean], default: str) -> Column[Any]:
    """A column that came after its table: rows of before, and ledgers of before, have the default."""
    return Column(kind, nullable=False, server_default=text(default))


def _only(sql: str) -> dict[str, Any]:
    """An index of these rows alone."""
    return {"sqlite_where": text(sql), "postgresql_where": text(sql)}


def _model(
    kind: type[Row],
    *parts: SchemaItem,
    own: Mapping[str, Column[Any]] | None = None,
    number: Mapping[str, Column[Any]] | None = None,
    **options: bool,
) -> type[SQLModel]:
    """The table of a row: a column a field, in their order, none of them nullable.

    `own` are columns whose type is not their field's. `number` is a column before all others that the database numbers,
    the primary key in place of the row's own. `options` are the table's.
    """
    hints = get_type_hints(kind)
    columns = dict(number or {})
    for name in kind.__struct_fields__:
        column: Column[Any] = Column(
            _TYPES[hints[name]],
            primary_key=number is None and name in kind.KEY,
            nullable=False,
            autoincrement=False,
        )
        columns[name] = (own or {}).get(name, column)
    return _table(kind, columns, *parts, **options)


def _table(
    kind: type[Row], columns: Mapping[str, Column[Any]], *parts: SchemaItem, **options: bool
) -> type[SQLModel]:
    hints = get_type_hints(kind)
    body = {
        "__module__": __name__,
        "__doc__": kind.__doc__,
        "__tablename__": kind.TABLE,
        "__table_args__": (*parts, options),
        "__annotations__": {name: hints.get(name, int) for name in columns},
        **{name: Field(sa_column=column) for name, column in columns.items()},
    }
    return new_class(kind.__name__, (SQLModel,), {"table": True}, lambda space: space.update(body))


Profile = _model(
    rows.Profile,
    own={
        "playground_credits_usd": Column(Numeric(20, 9).with_variant(String(), "sqlite"), nullable=False),
        "name": _later(String, "''"),
        "email": _later(String, "''"),
        "status": _later(String, "'active'"),
        "timezone": _later(String, "''"),
        "rpm": _later(BigInteger, "0"),
        "tpm": _later(BigInteger, "0"),
        "in_flight": _later(BigInteger, "0"),
        "labels": _later(String, "'{}'"),
        "version": _later(BigInteger, "1"),
    },
)
Account = _model(
    rows.Account,
    CheckConstraint("held_nano >= 0", name="accounts_held"),
    # What belongs to callers can never be overdrawn.
    CheckConstraint(
        "kind NOT IN ('metered', 'playground') OR posted_nano >= held_nano", name="accounts_covered"
    ),
    own={
        "spent_nano": _later(BigInteger, "0"),
        "low_nano": _later(BigInteger, "0"),
        "limited": _later(Boolean, "false"),
        "lots_nano": _later(BigInteger, "0"),
    },
    sqlite_with_rowid=False,
)
Key = _model(
    rows.Key,
    UniqueConstraint("digest"),
    ForeignKeyConstraint(["profile"], ["profiles.id"]),
    ForeignKeyConstraint(["account_id"], ["accounts.id"]),
    Index("api_keys_created", "created_ms", "id"),
    Index("api_keys_profile", "profile", "id"),
    Index("api_keys_owner", "profile", "created_ms", "id"),
    Index("api_keys_account", "account_id"),
    Index("api_keys_name", "name", "id"),
    Index("api_keys_expires", "expires_ms", **_only("expires_ms > 0")),
    own={
        "expires_ms": _later(BigInteger, "0"),
        "models": _later(String, "''"),
        "rpm": _later(BigInteger, "0"),
        "tpm": _later(BigInteger, "0"),
        "in_flight": _later(BigInteger, "0"),
        "labels": _later(String, "'{}'"),
        "version": _later(BigInteger, "1"),
    },
)
KeySecret = _model(
    rows.KeySecret,
    UniqueConstraint("id"),
    Index("key_secrets_key", "key_id"),
    own={"pepper": _later(String, "''")},
    sqlite_with_rowid=False,
)
Cap = _model(
    rows.Cap,
    CheckConstraint("limit_nano >= 0", name="caps_limit"),
    Index("caps_scope", "scope"),
    Index("caps_created", "created_ms", "id"),
    sqlite_with_rowid=False,
)
CapPeriod = _model(
    rows.CapPeriod,
    CheckConstraint("spent_nano >= 0 AND held_nano >= 0", name="cap_periods_positive"),
    # No two calls in flight together can cross a cap.
    CheckConstraint("spent_nano + held_nano <= ceiling_nano", name="cap_periods_covered"),
    Index("cap_periods_cap", "cap_id", "start_ms"),
    own={"alert_nano": _later(BigInteger, "0"), "reached": _later(Boolean, "false")},
    sqlite_with_rowid=False,
)
Rate = _model(rows.Rate)
Transfer = _model(  # the key makes each happen once, for ever
    rows.Transfer,
    CheckConstraint("amount_nano > 0", name="transfers_amount"),
    CheckConstraint("debit <> credit", name="transfers_sides"),
    sqlite_with_rowid=False,
)
Hold = _model(
    rows.Hold,
    CheckConstraint("held_nano >= 0 AND held_nano <= amount_nano", name="holds_held"),
    CheckConstraint(f"held_nano = 0 OR {OPEN_STATES}", name="holds_ended"),
    Index("holds_lease", "lease_ms", sqlite_where=text(OPEN_STATES), postgresql_where=text(OPEN_STATES)),
    own={
        "uplifts": Column(String, nullable=False, server_default="[]"),
        "asked": Column(String, nullable=False, server_default=""),
        "candidate": Column(BigInteger, nullable=False, server_default=text("0")),
        "limits": Column(String, nullable=False, server_default=""),
    },
    sqlite_with_rowid=False,
)
Candidate = _model(
    rows.Candidate,
    CheckConstraint("place > 0", name="candidates_place"),
    sqlite_with_rowid=False,
)
# Calls by key are indexed within blocks of rows. An index by key alone has as many places for new rows as there are keys,
# all over a table of any size; here all of them lie in the newest block.
Usage = _model(
    rows.UsageRow,
    UniqueConstraint(*rows.UsageRow.KEY, name="usage_once"),
    CheckConstraint("billed_nano >= 0", name="usage_billed"),
    Index("usage_key", text(f"(seq / {USAGE_BLOCK})"), "key_id", "slot", "seq"),
    own={
        "cached_audio": Column(BigInteger, nullable=False, server_default="0"),
        "refunded_nano": _later(BigInteger, "0"),
        "lots_nano": _later(BigInteger, "0"),
    },
    number={
        "seq": Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)
    },
)
Credit = _model(
    act_rows.Credit,
    CheckConstraint(
        "remaining_nano >= 0 AND gone_nano >= 0 AND remaining_nano + gone_nano <= lot_nano",
        name="credits_lot",
    ),
    Index(
        "credits_reference",
        "kind",
        "reference",
        unique=True,
        sqlite_where=text("reference <> ''"),
        postgresql_where=text("reference <> ''"),
    ),
    Index("credits_account", "account_id", "created_ms", "id"),
    Index("credits_created", "created_ms", "id"),
    Index("credits_kind", "kind", "created_ms", "id"),
    Index("credits_call", "call", sqlite_where=text("call <> ''"), postgresql_where=text("call <> ''")),
    Index(
        "credits_ending",
        "expires_ms",
        sqlite_where=text("expires_ms > 0"),
        postgresql_where=text("expires_ms > 0"),
    ),
    Index(
        "credits_expiring",
        "expires_ms",
        sqlite_where=text("remaining_nano > 0 AND expires_ms > 0"),
        postgresql_where=text("remaining_nano > 0 AND expires_ms > 0"),
    ),
)
AuditEntry = _model(
    act_rows.Entry,
    Index("audit_entries_id", "id"),
    *(Index(f"audit_entries_{name}", name, "number") for name in ("actor", "action", "target")),
    Index(
        "audit_entries_key",
        "credential",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key <> ''"),
        postgresql_where=text("idempotency_key <> ''"),
    ),
    own={name: _later(String, "''") for name in ("ip", "user_agent", "request_id")},
)
AuditHead = _model(act_rows.Head)
Event = _model(
    event_rows.EventRow,
    Index("events_once", "id", unique=True, **_only("endpoint = ''")),
    Index("events_waiting", "seq", **_only("NOT published")),
    Index("events_object", "object", "type", "created_ms"),
    Index("events_created", "created_ms"),
    number={
        "seq": Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)
    },
)
WebhookEndpoint = _model(event_rows.Endpoint)
Delivery = _model(
    event_rows.DeliveryRow,
    Index("deliveries_endpoint", "endpoint", "id"),
    Index("deliveries_event", "event", "id"),
)


def _secret(kind: type[Row], *, operator: bool = False) -> type[SQLModel]:
    """A table whose rows are found by the digest of a secret, and some by their operator."""
    indexes = [Index(f"{kind.TABLE}_digest", "digest", unique=True)]
    if operator:
        indexes.append(Index(f"{kind.TABLE}_operator", "operator"))
    return _model(kind, *indexes)


Operator = _model(
    authority_rows.Operator,
    Index("operators_subject", "issuer", "subject", unique=True, **_only("subject <> ''")),
    own={name: _later(String, "''") for name in ("issuer", "subject")},
)
Nonce = _model(authority_rows.Nonce, Index("sign_in_nonces_ends", "ends_ms"))
ManagementKey = _secret(authority_rows.ManagementKey)
Session = _secret(authority_rows.Session, operator=True)
SignInToken = _secret(authority_rows.SignInToken, operator=True)


def _rollup(kind: type[Row], *indexes: Index) -> type[SQLModel]:
    """A roll-up's table: its key, then the sums."""
    columns: dict[str, Column[Any]] = {name: _text(key=True) for name in kind.KEY}
    for name in ("hour", "day"):
        if name in columns:
            columns[name] = _big(key=True)
    columns |= {name: _big() for name in rollup_rows.SUMS}
    return _table(kind, columns, *indexes, sqlite_with_rowid=False)


UsageHour = _rollup(rollup_rows.UsageHour)
UsageDay = _rollup(rollup_rows.UsageDay, Index("usage_days_day", "day", "key_id"))
UsageTotal = _rollup(rollup_rows.UsageTotal)
Statement = _model(
    statement_rows.Statement,
    UniqueConstraint("organization", "period", name="statements_once"),
    Index(
        "statements_number",
        "number",
        unique=True,
        sqlite_where=text("number <> ''"),
        postgresql_where=text("number <> ''"),
    ),
)
StatementLine = _model(statement_rows.Line, sqlite_with_rowid=False)
StreamRange = _model(rows.StreamRange)
ParkedEvent = _model(rows.Parked)
Surprise = _model(rows.Surprise)


Topup = _model(
    topup_rows.Topup,
    CheckConstraint(
        "returned_nano >= 0 AND disputed_nano >= 0 AND returned_nano + disputed_nano <= given_nano",
        name="topups_taken",
    ),
    Index("topups_session", "session", unique=True, **_only("session <> ''")),
    Index("topups_payment", "payment", unique=True, **_only("payment <> ''")),
    Index("topups_organization", "organization", "created_ms", "id"),
    Index("topups_created", "created_ms", "id"),
)
TopupClaim = _model(topup_rows.Claim, Index("topup_claims_topup", "topup"))


class CatalogueModel(SQLModel, table=True):
    """The catalogue in force; `body` is the whole row as JSON."""

    __tablename__ = "models"
    id: str = Field(sa_column=_text(key=True))
    pool: str = Field(sa_column=_text())
    provider: str = Field(sa_column=_text())
    upstream: str = Field(sa_column=_text())
    context: int = Field(sa_column=_big())
    max_output: int = Field(sa_column=_big())
    rate: str = Field(sa_column=_text())
    body: str = Field(sa_column=_text())


class PriceRow(SQLModel, table=True):
    """Every price row that a hold was ever made with, by content: a change is a new row."""

    __tablename__ = "prices"
    ref: str = Field(sa_column=_text(key=True))
    body: str = Field(sa_column=_text())


class UpstreamAccount(SQLModel, table=True):
    """Upstream accounts whose opening credit has been applied; what is left is their account's balance."""

    __tablename__ = "upstream_accounts"
    pool: str = Field(sa_column=_text(key=True))
    id: str = Field(sa_column=_text(key=True))
    limited: bool
    opening_nano: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    created_ms: int = Field(sa_column=_big())


class RolledUp(SQLModel, table=True):
    """How far usage rows are in the roll-ups: all up to `seq`."""

    __tablename__ = "rollups"
    id: str = Field(sa_column=_text(key=True))
    seq: int = Field(sa_column=_big())


class Told(SQLModel, table=True):
    """What was told last: of accounts and pools their state, and how far the clock's events are."""

    __tablename__ = "told"
    id: str = Field(sa_column=_text(key=True))
    state: str = Field(sa_column=_text())
    at_ms: int = Field(sa_column=_big())


class StreamPosition(SQLModel, table=True):
    """Streams that events came from; all events up to `applied_seq` are in the books. One is current."""

    __tablename__ = "stream_positions"
    identity: str = Field(sa_column=_text(key=True))
    applied_seq: int = Field(sa_column=_big())
    current: bool
    opened_ms: int = Field(sa_column=_big())
    detail: str = Field(sa_column=_text())
    turn: int = Field(default=0, sa_column=_later(BigInteger, "0"))  # grows with it; older ledgers leave it


class LedgerRow(SQLModel, table=True):
    """Each ledger that runs, the revision that it knows, and when it was last seen; and what one must know at least."""

    __tablename__ = "ledgers"
    id: str = Field(sa_column=_text(key=True))
    revision: int = Field(sa_column=_big())
    seen_ms: int = Field(sa_column=_big())
    peppers: str = Field(default="", sa_column=_later(String, "''"))  # their ids, with spaces between


class Configuration(SQLModel, table=True):
    """The newest configuration that a ledger of these books took: one row, of what it sells and how new it is."""

    __tablename__ = "configurations"
    id: str = Field(sa_column=_text(key=True))
    number: int = Field(sa_column=_big())
    changed_ms: int = Field(sa_column=_big())
    body: str = Field(sa_column=_text())
    taken_ms: int = Field(sa_column=_big())


class Pepper(SQLModel, table=True):
    """What tells one pepper from another, a text hashed with it: that of `keys` hashes them now, all others did before.

    `first` is the one of secrets that do not say theirs, where that is not the one of `keys`.
    """

    __tablename__ = "peppers"
    id: str = Field(sa_column=_text(key=True))
    digest: str = Field(sa_column=_text())


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table of a declared one."""
    return model.metadata.tables[str(model.__tablename__)]
