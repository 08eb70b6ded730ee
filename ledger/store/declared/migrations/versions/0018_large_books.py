"""What large books are read by: the keys of a day in their order, the credits of a kind by time, and caps by time.

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Adds indexes of tables that no call waits for."""
    op.create_index("usage_days_day", "usage_days", ["day", "key_id"])
    op.create_index("credits_kind", "credits", ["kind", "created_ms", "id"])
    op.create_index("caps_created", "caps", ["created_ms", "id"])
