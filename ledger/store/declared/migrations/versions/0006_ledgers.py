"""Which ledgers run on these books, so that what an older one would break waits for it to be gone.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# An older ledger moves the stream's position and leaves `turn` as it is: so it is seen, though it keeps no row itself.
_NOTE = {
    "sqlite": (
        """
CREATE TRIGGER ledgers_note AFTER UPDATE OF applied_seq ON stream_positions WHEN NEW.turn = OLD.turn
BEGIN
    INSERT INTO ledgers (id, revision, seen_ms)
    VALUES ('unknown', 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
    ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms;
END
""",
    ),
    "postgresql": (
        """
CREATE FUNCTION ledgers_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledgers (id, revision, seen_ms)
    VALUES ('unknown', 0, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint))
    ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms;
    RETURN NULL;
END $$
""",
        """
CREATE TRIGGER ledgers_note AFTER UPDATE OF applied_seq ON stream_positions
FOR EACH ROW WHEN (NEW.turn = OLD.turn) EXECUTE FUNCTION ledgers_note()
""",
        # Once the books have what an older ledger does not know, it may move no money. SQLite's trigger for that is made
        # at that moment: there it costs something for each row.
        """
CREATE FUNCTION ledgers_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF COALESCE(current_setting('tokn.revision', true), '') = ''
        AND EXISTS (SELECT 1 FROM ledgers WHERE id = 'least') THEN
        RAISE EXCEPTION 'these books have what only a newer ledger knows: upgrade this one';
    END IF;
    RETURN NULL;
END $$
""",
        """
CREATE TRIGGER ledgers_refuse BEFORE INSERT OR UPDATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION ledgers_refuse()
""",
    ),
}


def upgrade() -> None:
    """Only adds, as 0005 does."""
    op.create_table(
        "ledgers",
        sa.Column("id", sa.String(), nullable=False, primary_key=True),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), autoincrement=False, nullable=False),
    )
    op.add_column(
        "stream_positions", sa.Column("turn", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.create_index("api_keys_name", "api_keys", ["name", "id"])
    for statement in _NOTE[op.get_context().dialect.name]:
        op.execute(statement.strip())
