"""Owns the tables of the books, declared with SQLModel. The rows of the hot path are `ledger.rows`, field for field."""

from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from ledger.rules.rows import USAGE_BLOCK

OPEN_STATES = "state IN ('open', 'estimated')"


def _text(*, key: bool = False) -> Column[str]:
    return Column(String, primary_key=key, nullable=False)


def _big(*, key: bool = False) -> Column[int]:
    return Column(BigInteger, primary_key=key, nullable=False, autoincrement=False)


class Profile(SQLModel, table=True):
    """Who owns keys; its playground credits are kept true with every transfer that moves them."""

    __tablename__ = "profiles"
    id: str = Field(sa_column=_text(key=True))
    playground_credits_usd: Decimal = Field(
        sa_column=Column(Numeric(20, 9).with_variant(String(), "sqlite"), nullable=False)
    )
    created_ms: int = Field(sa_column=_big())


class Account(SQLModel, table=True):
    """Balances in nano-dollars. What belongs to callers can never be overdrawn."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("held_nano >= 0", name="accounts_held"),
        CheckConstraint(
            "kind NOT IN ('metered', 'playground') OR posted_nano >= held_nano", name="accounts_covered"
        ),
        {"sqlite_with_rowid": False},
    )
    id: str = Field(sa_column=_text(key=True))
    kind: str = Field(sa_column=_text())
    posted_nano: int = Field(sa_column=_big())
    held_nano: int = Field(sa_column=_big())


class ApiKey(SQLModel, table=True):
    """Callers' keys, as keyed hashes."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("api_keys_created", "created_ms", "id"),)
    id: str = Field(sa_column=_text(key=True))
    digest: str = Field(sa_column=Column(String, nullable=False, unique=True))
    name: str = Field(sa_column=_text())
    profile: str = Field(sa_column=Column(String, ForeignKey("profiles.id"), nullable=False))
    account_id: str = Field(sa_column=Column(String, ForeignKey("accounts.id"), nullable=False))
    providers: str = Field(sa_column=_text())
    playground: bool
    status: str = Field(sa_column=_text())
    created_ms: int = Field(sa_column=_big())
    revoked_ms: int = Field(sa_column=_big())


class Transfer(SQLModel, table=True):
    """Money from one account to another, for a request. Its key makes each happen once, for ever."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("amount_nano > 0", name="transfers_amount"),
        CheckConstraint("debit <> credit", name="transfers_sides"),
        {"sqlite_with_rowid": False},
    )
    request_id: str = Field(sa_column=_text(key=True))
    kind: str = Field(sa_column=_text(key=True))
    attempt: int = Field(sa_column=_big(key=True))
    line: int = Field(sa_column=_big(key=True))
    debit: str = Field(sa_column=_text())
    credit: str = Field(sa_column=_text())
    amount_nano: int = Field(sa_column=_big())
    created_ms: int = Field(sa_column=_big())


class Hold(SQLModel, table=True):
    """Reservations, one a call, kept for good with how each ended."""

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("held_nano >= 0 AND held_nano <= amount_nano", name="holds_held"),
        CheckConstraint(f"held_nano = 0 OR {OPEN_STATES}", name="holds_ended"),
        Index(
            "holds_lease",
            "lease_ms",
            sqlite_where=text(OPEN_STATES),
            postgresql_where=text(OPEN_STATES),
        ),
        {"sqlite_with_rowid": False},
    )
    request_id: str = Field(sa_column=_text(key=True))
    token: str = Field(sa_column=_text())
    key_id: str = Field(sa_column=_text())
    account_id: str = Field(sa_column=_text())
    model: str = Field(sa_column=_text())
    pool: str = Field(sa_column=_text())
    provider: str = Field(sa_column=_text())
    upstream: str = Field(sa_column=_text())
    price_ref: str = Field(sa_column=_text())
    rate: str = Field(sa_column=_text())
    amount_nano: int = Field(sa_column=_big())
    list_nano: int = Field(sa_column=_big())
    held_nano: int = Field(sa_column=_big())
    token_limit: int = Field(sa_column=_big())
    limited: bool
    prompt_max: int = Field(sa_column=_big())
    choices: int = Field(sa_column=_big())
    attempt: int = Field(sa_column=_big())
    state: str = Field(sa_column=_text())
    lease_ms: int = Field(sa_column=_big())
    created_ms: int = Field(sa_column=_big())
    closed_ms: int = Field(sa_column=_big())


class Usage(SQLModel, table=True):
    """What calls used. Slot 0 is a call's only bill; slot n is its attempt n as our cost, and is not listed.

    Calls by key are indexed within blocks of rows. An index by key alone has as many places for new rows as there are
    keys, all over a table of any size; here all of them lie in the newest block.
    """

    __tablename__ = "usage"
    __table_args__ = (
        UniqueConstraint("request_id", "slot", name="usage_once"),
        CheckConstraint("billed_nano >= 0", name="usage_billed"),
        Index("usage_key", text(f"(seq / {USAGE_BLOCK})"), "key_id", "slot", "seq"),
    )
    seq: int | None = Field(
        default=None,
        sa_column=Column(
            BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
    )
    request_id: str = Field(sa_column=_text())
    slot: int = Field(sa_column=_big())
    attempt: int = Field(sa_column=_big())
    key_id: str = Field(sa_column=_text())
    model: str = Field(sa_column=_text())
    provider: str = Field(sa_column=_text())
    pool: str = Field(sa_column=_text())
    outcome: str = Field(sa_column=_text())
    known: str = Field(sa_column=_text())
    bill_final: bool
    cost_final: bool
    input: int = Field(sa_column=_big())
    cached: int = Field(sa_column=_big())
    cache_write: int = Field(sa_column=_big())
    cache_write_1h: int = Field(sa_column=_big())
    input_audio: int = Field(sa_column=_big())
    output: int = Field(sa_column=_big())
    reasoning: int = Field(sa_column=_big())
    output_audio: int = Field(sa_column=_big())
    uplifts: str = Field(sa_column=_text())
    list_nano: int = Field(sa_column=_big())
    billed_nano: int = Field(sa_column=_big())
    uncollected_nano: int = Field(sa_column=_big())
    cost_nano: int = Field(sa_column=_big())
    tries: str = Field(sa_column=_text())
    queued_ms: int = Field(sa_column=_big())
    first_byte_ms: int = Field(sa_column=_big())
    duration_ms: int = Field(sa_column=_big())
    finished_ms: int = Field(sa_column=_big())
    created_ms: int = Field(sa_column=_big())


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


class StreamPosition(SQLModel, table=True):
    """Streams that events came from; all events up to `applied_seq` are in the books. One is current."""

    __tablename__ = "stream_positions"
    identity: str = Field(sa_column=_text(key=True))
    applied_seq: int = Field(sa_column=_big())
    current: bool
    opened_ms: int = Field(sa_column=_big())
    detail: str = Field(sa_column=_text())


class StreamRange(SQLModel, table=True):
    """Sequences applied ahead of a gap, while several ledgers share a stream."""

    __tablename__ = "stream_ranges"
    identity: str = Field(sa_column=_text(key=True))
    first_seq: int = Field(sa_column=_big(key=True))
    last_seq: int = Field(sa_column=_big())


class ParkedEvent(SQLModel, table=True):
    """Events that could not be applied, for a person to look at."""

    __tablename__ = "parked_events"
    request_id: str = Field(sa_column=_text(key=True))
    attempt: int = Field(sa_column=_big(key=True))
    reason: str = Field(sa_column=_text())
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_ms: int = Field(sa_column=_big())


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table of a declared one."""
    return model.metadata.tables[str(model.__tablename__)]
