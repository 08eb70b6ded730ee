"""Which pepper each secret was hashed with, and which peppers each ledger has.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Adds a column to each; of rows of before, and of ledgers of before, nothing is said."""
    for table in ("key_secrets", "ledgers"):
        name = "pepper" if table == "key_secrets" else "peppers"
        op.add_column(table, sa.Column(name, sa.String(), nullable=False, server_default=sa.text("''")))
