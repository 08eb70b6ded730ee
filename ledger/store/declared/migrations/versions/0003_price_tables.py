"""Cached audio is a class of its own, holds say what they reckon with, and unexpected tiers and regions are kept.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds two columns that ledgers of the version before leave to their defaults, and a table."""
    op.add_column("usage", sa.Column("cached_audio", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("holds", sa.Column("uplifts", sa.String, nullable=False, server_default="[]"))
    op.create_table(
        "surprises",
        *(sa.Column(name, sa.String, nullable=False) for name in ("pool", "account", "upstream", "uplift")),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("pool", "account", "upstream", "uplift"),
    )
