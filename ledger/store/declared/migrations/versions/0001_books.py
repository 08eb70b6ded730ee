"""The first books: keys, accounts, transfers, holds, usage, catalogue, stream position.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = "state IN ('open', 'estimated')"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    """Makes all tables."""
    _money()
    _keys()
    _holds()
    _usage()
    _catalogue()
    _stream()


def _money() -> None:
    op.create_table(
        "accounts",
        _text("id"),
        _text("kind"),
        _big("posted_nano"),
        _big("held_nano"),
        sa.CheckConstraint("held_nano >= 0", name="accounts_held"),
        sa.CheckConstraint(
            "kind NOT IN ('metered', 'playground') OR posted_nano >= held_nano", name="accounts_covered"
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transfers",
        _text("request_id"),
        _text("kind"),
        _big("attempt"),
        _big("line"),
        _text("debit"),
        _text("credit"),
        _big("amount_nano"),
        _big("created_ms"),
        sa.CheckConstraint("amount_nano > 0", name="transfers_amount"),
        sa.CheckConstraint("debit <> credit", name="transfers_sides"),
        sa.PrimaryKeyConstraint("request_id", "kind", "attempt", "line"),
        sqlite_with_rowid=False,
    )


def _keys() -> None:
    op.create_table(
        "profiles",
        _text("id"),
        sa.Column(
            "playground_credits_usd", sa.Numeric(20, 9).with_variant(sa.String(), "sqlite"), nullable=False
        ),
        _big("created_ms"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "api_keys",
        _text("id"),
        _text("digest"),
        _text("name"),
        _text("profile"),
        _text("account_id"),
        _text("providers"),
        _flag("playground"),
        _text("status"),
        _big("created_ms"),
        _big("revoked_ms"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["profile"], ["profiles.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("api_keys_created", "api_keys", ["created_ms", "id"])


def _holds() -> None:
    op.create_table(
        "holds",
        *(
            _text(name)
            for name in ("request_id", "token", "key_id", "account_id", "model", "pool", "provider")
        ),
        *(_text(name) for name in ("upstream", "price_ref", "rate")),
        *(_big(name) for name in ("amount_nano", "list_nano", "held_nano", "token_limit")),
        _flag("limited"),
        *(_big(name) for name in ("prompt_max", "choices", "attempt")),
        _text("state"),
        *(_big(name) for name in ("lease_ms", "created_ms", "closed_ms")),
        sa.CheckConstraint("held_nano >= 0 AND held_nano <= amount_nano", name="holds_held"),
        sa.CheckConstraint(f"held_nano = 0 OR {_OPEN}", name="holds_ended"),
        sa.PrimaryKeyConstraint("request_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "holds_lease", "holds", ["lease_ms"], sqlite_where=sa.text(_OPEN), postgresql_where=sa.text(_OPEN)
    )


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        _text("request_id"),
        _big("slot"),
        _big("attempt"),
        *(_text(name) for name in ("key_id", "model", "provider", "pool", "outcome", "known")),
        _flag("bill_final"),
        _flag("cost_final"),
        *(_big(name) for name in ("input", "cached", "cache_write", "cache_write_1h", "input_audio")),
        *(_big(name) for name in ("output", "reasoning", "output_audio")),
        _text("uplifts"),
        *(_big(name) for name in ("list_nano", "billed_nano", "uncollected_nano", "cost_nano")),
        _text("tries"),
        *(_big(name) for name in ("queued_ms", "first_byte_ms", "duration_ms", "finished_ms", "created_ms")),
        sa.CheckConstraint("billed_nano >= 0", name="usage_billed"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("request_id", "slot", name="usage_once"),
    )
    op.create_index("usage_key", "usage", ["key_id", "seq"])


def _catalogue() -> None:
    op.create_table(
        "models",
        *(_text(name) for name in ("id", "pool", "provider", "upstream")),
        _big("context"),
        _big("max_output"),
        _text("rate"),
        _text("body"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table("prices", _text("ref"), _text("body"), sa.PrimaryKeyConstraint("ref"))
    op.create_table(
        "upstream_accounts",
        _text("pool"),
        _text("id"),
        _flag("limited"),
        sa.Column("opening_nano", sa.BigInteger(), nullable=True),
        _big("created_ms"),
        sa.PrimaryKeyConstraint("pool", "id"),
    )


def _stream() -> None:
    op.create_table(
        "stream_positions",
        _text("identity"),
        _big("applied_seq"),
        _flag("current"),
        _big("opened_ms"),
        _text("detail"),
        sa.PrimaryKeyConstraint("identity"),
    )
    op.create_table(
        "stream_ranges",
        _text("identity"),
        _big("first_seq"),
        _big("last_seq"),
        sa.PrimaryKeyConstraint("identity", "first_seq"),
    )
    op.create_table(
        "parked_events",
        _text("request_id"),
        _big("attempt"),
        _text("reason"),
        _blob("payload"),
        _big("created_ms"),
        sa.PrimaryKeyConstraint("request_id", "attempt"),
    )
