"""Top-ups that are paid through Stripe, with what was told of their refunds and disputes.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    """Adds tables."""
    op.create_table(
        "topups",
        _text("id"),
        _text("organization"),
        _big("amount_nano"),
        _text("currency"),
        _big("created_ms"),
        *map(_text, ("session", "url")),
        sa.Column("live", sa.Boolean(), nullable=False),
        *map(_text, ("payment", "status")),
        *map(_big, ("refunded_cents", "given_nano", "returned_nano", "returned_debt_nano")),
        *map(_big, ("disputed_nano", "disputed_debt_nano", "moves")),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(
            "returned_nano >= 0 AND disputed_nano >= 0 AND returned_nano + disputed_nano <= given_nano",
            name="topups_taken",
        ),
    )
    for name in ("session", "payment"):
        known = sa.text(f"{name} <> ''")
        op.create_index(
            f"topups_{name}", "topups", [name], unique=True, sqlite_where=known, postgresql_where=known
        )
    op.create_index("topups_organization", "topups", ["organization", "created_ms", "id"])
    op.create_index("topups_created", "topups", ["created_ms", "id"])
    op.create_table(
        "topup_claims",
        *map(_text, ("id", "topup", "kind")),
        _big("cents"),
        _text("status"),
        _big("told_s"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("topup_claims_topup", "topup_claims", ["topup"])
