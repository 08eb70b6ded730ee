"""Owns which ledgers run on one database: each keeps a row, and what an older one would break waits until none is seen.

The first act of that kind takes the books over: sums that older ledgers left behind are made anew, and from then on an
older ledger can move no money, whether it knows of this or not.
"""

from ledger.store.base import Transaction
from ledger.store.migrate import KNOWN_REVISION

SEEN_MS = 60_000  # a ledger that has not been seen for so long is gone
LEAST = "least"  # the row that says which revision a ledger must know at least
OLDER_RUNS = "a ledger of an older version runs: upgrade it first (it is seen as gone after a minute)"
TAKE_OVER_S = 600.0  # it reads all transfers, once
_SPENT_SQL = (
    "UPDATE accounts SET spent_nano = 0 WHERE spent_nano <> 0",
    """
    UPDATE accounts SET spent_nano = moved.nano FROM (
        SELECT account, SUM(nano) AS nano FROM (
            SELECT debit AS account, amount_nano AS nano FROM transfers WHERE kind IN ('charge', 'refund')
            UNION ALL SELECT credit, -amount_nano FROM transfers WHERE kind IN ('charge', 'refund')) AS sides
        GROUP BY account) AS moved
    WHERE accounts.id = moved.account AND accounts.kind IN ('metered', 'playground')
    """,
)
# Older ledgers gave deposits without saying so.
_CREDITS_SQL = """
    INSERT INTO credits (id, kind, account_id, amount_nano, transfer, number, reason, reference, call, actor,
        expires_ms, lot_nano, remaining_nano, gone_nano, created_ms)
    SELECT request_id, kind, credit, amount_nano, request_id, 0, '', '', '', '', 0, 0, 0, 0, created_ms
    FROM transfers AS t WHERE kind = 'deposit'
        AND NOT EXISTS (SELECT 1 FROM credits AS c WHERE c.kind = 'deposit' AND c.transfer = t.request_id)
"""
_REFUSE_SQLITE = """
    CREATE TRIGGER IF NOT EXISTS ledgers_refuse BEFORE UPDATE ON accounts
    BEGIN SELECT tokn_knows_0006() WHERE 0; END
"""
SEEN_SQL = (
    "INSERT INTO ledgers (id, revision, seen_ms) VALUES ($1, $2, $3) "
    "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, seen_ms = excluded.seen_ms"
)


async def admitted(tx: Transaction) -> bool:
    """Whether acts that an older ledger would break may be done; the first of them takes the books over.

    False while an older ledger is seen. It must come before anything is locked.
    """
    rows = await tx.fetch("SELECT id, revision, seen_ms FROM ledgers")
    if any(row[0] == LEAST for row in rows):
        return True
    if any(row[1] < KNOWN_REVISION and row[2] > tx.now_ms - SEEN_MS for row in rows):
        return False
    if tx.dialect == "postgresql":
        await tx.execute(f"SET LOCAL statement_timeout = '{TAKE_OVER_S:.0f}s'")
        await tx.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
    for sql in (*_SPENT_SQL, _CREDITS_SQL):
        await tx.execute(sql, timeout_s=TAKE_OVER_S)
    if tx.dialect == "sqlite":
        await tx.execute(_REFUSE_SQLITE)
    await tx.execute(SEEN_SQL, LEAST, KNOWN_REVISION, tx.now_ms)
    return True
