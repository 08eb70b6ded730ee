"""A hold may stand for several models: what it pins for each, which of them is current, and what the caller wrote.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    """Adds the table and two columns of holds. The holds of before have one model, and it is what was written."""
    op.create_table(
        "candidates",
        _text("request_id"),
        _big("place"),
        _text("model"),
        _text("pool"),
        _text("provider"),
        _text("upstream"),
        _text("price_ref"),
        _text("rate"),
        _big("list_nano"),
        _big("token_limit"),
        sa.Column("limited", sa.Boolean(), nullable=False),
        _big("prompt_max"),
        _text("uplifts"),
        sa.PrimaryKeyConstraint("request_id", "place"),
        sa.CheckConstraint("place > 0", name="candidates_place"),
        sqlite_with_rowid=False,
    )
    op.add_column("holds", sa.Column("asked", sa.String(), nullable=False, server_default=""))
    op.add_column(
        "holds", sa.Column("candidate", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
