"""Who may act through a console: management keys, operators, sessions, links to sign in; and from where an act came.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_COLUMNS = {
    "management_keys": (
        *("id", "digest", "hint", "name", "scopes", "organization", "status"),
        *("created_ms", "expires_ms", "revoked_ms", "version"),
    ),
    "operators": (
        *("id", "name", "email", "role", "organization", "status"),
        *("created_ms", "removed_ms", "version"),
    ),
    "sessions": (
        *("id", "digest", "operator", "ip", "user_agent"),
        *("created_ms", "seen_ms", "expires_ms", "ended_ms"),
    ),
    "sign_in_tokens": ("id", "digest", "operator", "created_ms", "expires_ms", "ended_ms"),
}


def _column(name: str) -> sa.Column[int] | sa.Column[str]:
    if name == "version" or name.endswith("_ms"):
        return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)
    return sa.Column(name, sa.String(), nullable=False)


def upgrade() -> None:
    """Adds tables, and columns of the log that entries of ledgers of the version before leave empty."""
    for table, columns in _COLUMNS.items():
        op.create_table(table, *map(_column, columns), sa.PrimaryKeyConstraint("id"))
        if "digest" in columns:
            op.create_index(f"{table}_digest", table, ["digest"], unique=True)
        if "operator" in columns:
            op.create_index(f"{table}_operator", table, ["operator"])
    for name in ("ip", "user_agent", "request_id"):
        column = sa.Column(name, sa.String(), nullable=False, server_default=sa.text("''"))
        op.add_column("audit_entries", column)
    op.create_index("audit_entries_id", "audit_entries", ["id"])
    for name in ("actor", "action", "target"):
        op.create_index(f"audit_entries_{name}", "audit_entries", [name, "number"])
    op.create_index("credits_created", "credits", ["created_ms", "id"])
    op.create_index("api_keys_owner", "api_keys", ["profile", "created_ms", "id"])
