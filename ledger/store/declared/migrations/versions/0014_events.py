"""The outbox of events, webhook endpoints with their deliveries, and what caps have told.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), primary_key=key, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    """Adds tables, and columns that have a default."""
    op.create_table(
        "events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
            nullable=False,
        ),
        *map(_text, ("id", "type", "organization", "object", "body")),
        _big("created_ms"),
        _text("endpoint"),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
    )
    once, waiting = sa.text("endpoint = ''"), sa.text("NOT published")
    op.create_index("events_once", "events", ["id"], unique=True, sqlite_where=once, postgresql_where=once)
    op.create_index("events_waiting", "events", ["seq"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("events_object", "events", ["object", "type", "created_ms"])
    op.create_index("events_created", "events", ["created_ms"])
    op.create_table(
        "webhook_endpoints",
        _text("id", key=True),
        *map(_text, ("url", "events", "organization", "status", "reason", "secrets")),
        *map(_big, ("created_ms", "since_ms", "failing_ms", "version")),
    )
    op.create_table(
        "deliveries",
        _text("id", key=True),
        *map(_text, ("endpoint", "event", "type")),
        _big("attempt"),
        _text("status"),
        *map(_big, ("code", "ms")),
        *map(_text, ("response", "error")),
        *map(_big, ("next_ms", "created_ms")),
    )
    op.create_index("deliveries_endpoint", "deliveries", ["endpoint", "id"])
    op.create_index("deliveries_event", "deliveries", ["event", "id"])
    op.create_table("told", _text("id", key=True), _text("state"), _big("at_ms"))
    for name, kind, default in (
        ("alert_nano", sa.BigInteger(), "0"),
        ("reached", sa.Boolean(), "false"),
    ):
        column = sa.Column(name, kind, nullable=False, server_default=sa.text(default))
        op.add_column("cap_periods", column)
    op.execute(  # rounded up, by less than a ten-millionth of a dollar
        "UPDATE cap_periods SET alert_nano = (SELECT c.limit_nano - c.limit_nano / 100 * (100 - c.alert_percent) "
        "FROM caps AS c WHERE c.id = cap_periods.cap_id) "
        "WHERE EXISTS (SELECT 1 FROM caps AS c WHERE c.id = cap_periods.cap_id AND c.ended_ms = 0)"
    )
    where = sa.text("expires_ms > 0")
    op.create_index(
        "api_keys_expires", "api_keys", ["expires_ms"], sqlite_where=where, postgresql_where=where
    )
