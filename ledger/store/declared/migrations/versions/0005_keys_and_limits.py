"""Secrets apart from keys, organisations, caps and limits; and room for what each account has spent.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SECRETS = """
    INSERT INTO key_secrets (digest, id, key_id, hint, created_ms, expires_ms)
    SELECT digest, 'sec_' || substr(digest, 1, 16), id, '', created_ms, 0 FROM api_keys
"""


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False, primary_key=key)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _add(table: str, kind: type[sa.BigInteger | sa.String | sa.Boolean], default: str, *names: str) -> None:
    for name in names:
        op.add_column(table, sa.Column(name, kind(), nullable=False, server_default=sa.text(default)))


def upgrade() -> None:
    """Only adds, with defaults, so that ledgers of the version before go on beside. What was spent is filled in later."""
    _add("accounts", sa.BigInteger, "0", "spent_nano", "low_nano")
    _add("accounts", sa.Boolean, "false", "limited")
    _add("profiles", sa.String, "''", "name", "email")
    _add("profiles", sa.String, "'active'", "status")
    _add("profiles", sa.String, "''", "timezone")
    _add("api_keys", sa.BigInteger, "0", "expires_ms")
    _add("api_keys", sa.String, "''", "models")
    for table in ("profiles", "api_keys"):
        _add(table, sa.BigInteger, "0", "rpm", "tpm", "in_flight")
        _add(table, sa.String, "'{}'", "labels")
        _add(table, sa.BigInteger, "1", "version")
    op.add_column("holds", sa.Column("limits", sa.String(), nullable=False, server_default=""))
    op.create_index("api_keys_profile", "api_keys", ["profile", "id"])
    op.create_index("api_keys_account", "api_keys", ["account_id"])
    _secrets()
    _caps()
    _rates()
    op.execute(_SECRETS)


def _secrets() -> None:
    op.create_table(
        "key_secrets",
        _text("digest", key=True),
        _text("id"),
        _text("key_id"),
        _text("hint"),
        _big("created_ms"),
        _big("expires_ms"),
        sa.UniqueConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("key_secrets_key", "key_secrets", ["key_id"])


def _caps() -> None:
    op.create_table(
        "caps",
        _text("id", key=True),
        _text("scope"),
        _text("period"),
        _text("zone"),
        _big("limit_nano"),
        _big("alert_percent"),
        _big("created_ms"),
        _big("ended_ms"),
        _big("version"),
        sa.CheckConstraint("limit_nano >= 0", name="caps_limit"),
        sqlite_with_rowid=False,
    )
    op.create_index("caps_scope", "caps", ["scope"])
    op.create_table(
        "cap_periods",
        _text("id", key=True),
        _text("cap_id"),
        _big("start_ms"),
        _big("end_ms"),
        _big("spent_nano"),
        _big("held_nano"),
        _big("base_nano"),
        _big("ceiling_nano"),
        sa.Column("alerted", sa.Boolean(), nullable=False),
        sa.CheckConstraint("spent_nano >= 0 AND held_nano >= 0", name="cap_periods_positive"),
        sa.CheckConstraint("spent_nano + held_nano <= ceiling_nano", name="cap_periods_covered"),
        sqlite_with_rowid=False,
    )
    op.create_index("cap_periods_cap", "cap_periods", ["cap_id", "start_ms"])


def _rates() -> None:
    op.create_table(
        "rates",
        _text("scope", key=True),
        _big("in_flight"),
        _big("typical_output_milli"),
        _big("base_s"),
        sa.Column("requests", sa.LargeBinary(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        # A minute of counts is not worth the log: a row that a crash took is made anew from open holds.
        op.execute("ALTER TABLE rates SET UNLOGGED")
