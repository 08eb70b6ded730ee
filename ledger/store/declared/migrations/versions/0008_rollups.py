"""Sums of usage by hour and day, so that no page of sums reads calls.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SUMS = (
    *("calls", "failed", "cancelled"),
    *("input_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "input_audio_tokens"),
    *("output_tokens", "reasoning_tokens", "output_audio_tokens", "cached_audio_tokens"),
    *("list_nano", "billed_nano", "refunded_nano", "uncollected_nano", "cost_nano"),
)
_TABLES = {
    "usage_hours": ("hour", "key_id", "model", "pool", "provider", "organization"),
    "usage_days": ("key_id", "day", "model", "provider", "organization"),
    "usage_totals": ("hour", "organization", "model", "pool", "provider"),
}


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _key(name: str) -> sa.Column[int] | sa.Column[str]:
    return _big(name) if name in ("hour", "day") else sa.Column(name, sa.String(), nullable=False)


def upgrade() -> None:
    """Adds tables; the ledger fills them from the rows that are there."""
    for table, key in _TABLES.items():
        columns = [*map(_key, key), *map(_big, _SUMS)]
        op.create_table(table, *columns, sa.PrimaryKeyConstraint(*key), sqlite_with_rowid=False)
    op.create_table("rollups", sa.Column("id", sa.String(), primary_key=True, nullable=False), _big("seq"))
    op.execute("INSERT INTO rollups (id, seq) VALUES ('usage', 0)")
