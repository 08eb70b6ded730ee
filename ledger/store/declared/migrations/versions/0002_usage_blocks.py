"""Calls by key are indexed by blocks of rows, so that new calls of many keys touch few pages of a large table.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Replaces the index."""
    op.drop_index("usage_key", "usage")
    op.create_index("usage_key", "usage", [sa.text("(seq / 8192)"), "key_id", "slot", "seq"])
