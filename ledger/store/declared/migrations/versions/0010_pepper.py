"""What tells the pepper of the books' keys from another one.

Revision ID: 0010
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    """Adds a table; the next ledger that starts writes its row."""
    op.create_table(
        "peppers",
        sa.Column("id", sa.String(), primary_key=True, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
    )
