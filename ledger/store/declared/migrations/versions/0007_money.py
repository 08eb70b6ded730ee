"""Operators' acts on money: credits with their lots, refunds, and the audit log, chained and only ever added to.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_APPEND_ONLY = """
CREATE FUNCTION audit_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;
CREATE TRIGGER audit_entries_rows BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_entries_stay();
CREATE TRIGGER audit_entries_table BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_stay()
"""


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _bigs(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False) for name in names]


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _make_credits() -> None:
    op.create_table(
        "credits",
        *_texts("id", "kind", "account_id"),
        *_bigs("amount_nano"),
        *_texts("transfer"),
        *_bigs("number"),
        *_texts("reason", "reference", "call", "actor"),
        *_bigs("expires_ms", "lot_nano", "remaining_nano", "gone_nano", "created_ms"),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(
            "remaining_nano >= 0 AND gone_nano >= 0 AND remaining_nano + gone_nano <= lot_nano",
            name="credits_lot",
        ),
    )
    _partial("credits_reference", "credits", ["kind", "reference"], "reference <> ''", unique=True)
    op.create_index("credits_account", "credits", ["account_id", "created_ms", "id"])
    _partial("credits_call", "credits", ["call"], "call <> ''")
    _partial("credits_ending", "credits", ["expires_ms"], "expires_ms > 0")
    _partial("credits_expiring", "credits", ["expires_ms"], "remaining_nano > 0 AND expires_ms > 0")


def _make_log() -> None:
    op.create_table(
        "audit_entries",
        *_bigs("number"),
        *_texts("id"),
        *_bigs("created_ms"),
        *_texts("action", "target", "actor", "credential", "reason", "idempotency_key", "form_hash"),
        *_texts("before", "after", "answer", "previous", "hash"),
        sa.PrimaryKeyConstraint("number"),
    )
    key = ["credential", "idempotency_key"]
    _partial("audit_entries_key", "audit_entries", key, "idempotency_key <> ''", unique=True)
    op.create_table(
        "audit_head",
        *_bigs("id", "number"),
        *_texts("hash"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO audit_head (id, number, hash) VALUES (1, 0, '')")
    if op.get_context().dialect.name == "postgresql":
        op.execute(_APPEND_ONLY.strip())


def upgrade() -> None:
    """Adds what the acts need; each column has a default, which ledgers of the version before leave it."""
    for table, column in (("accounts", "lots_nano"), ("usage", "refunded_nano"), ("usage", "lots_nano")):
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    _make_credits()
    _make_log()
