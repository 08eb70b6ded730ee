"""Monthly statements of organisations, with their lines.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    """Adds tables; the ledger makes statements from the month on in which it took the books over."""
    op.create_table(
        "statements",
        *map(_text, ("id", "organization", "period", "timezone")),
        *map(_big, ("start_ms", "end_ms")),
        *map(_text, ("status", "number", "problem")),
        *map(_big, ("opening_nano", "closing_nano")),
        *map(_text, ("seller", "buyer")),
        _big("created_ms"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("organization", "period", name="statements_once"),
    )
    op.create_index(
        "statements_number",
        "statements",
        ["number"],
        unique=True,
        sqlite_where=sa.text("number <> ''"),
        postgresql_where=sa.text("number <> ''"),
    )
    op.create_table(
        "statement_lines",
        _text("statement"),
        _big("place"),
        *map(_text, ("kind", "key_id", "model")),
        *map(_big, ("calls", "tokens", "list_nano", "amount_nano")),
        sa.PrimaryKeyConstraint("statement", "place"),
        sqlite_with_rowid=False,
    )
