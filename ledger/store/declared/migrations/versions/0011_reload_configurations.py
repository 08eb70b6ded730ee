"""The newest configuration that a ledger of these books took: what it sells, and how new it is.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Adds a table, which the next ledger that starts fills."""
    op.create_table(
        "configurations",
        sa.Column("id", sa.String(), primary_key=True, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=False),
    )
