"""Operators whom an OpenID provider names, and the nonces that signed them in.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Adds a table, and columns that operators of before, and of ledgers of before, leave empty."""
    for name in ("issuer", "subject"):
        column = sa.Column(name, sa.String(), nullable=False, server_default=sa.text("''"))
        op.add_column("operators", column)
    named = sa.text("subject <> ''")
    op.create_index(
        "operators_subject",
        "operators",
        ["issuer", "subject"],
        unique=True,
        sqlite_where=named,
        postgresql_where=named,
    )
    op.create_table(
        "sign_in_nonces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("ends_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sign_in_nonces_ends", "sign_in_nonces", ["ends_ms"])
