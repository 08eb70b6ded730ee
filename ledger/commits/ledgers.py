"""Owns which ledgers run on one database: each keeps a row, and what an older one would break waits until none is seen.

The first act of that kind takes the books over: sums that older ledgers left behind are made anew, and from then on an
older ledger can move no money, whether it knows of this or not.
"""

from collections.abc import Sequence

from ledger.store.base import Row, Store, Transaction
from ledger.store.filling import LEAST, fill
from ledger.store.migrate import KNOWN_REVISION

SEEN_MS = 60_000  # a ledger that has not been seen for so long is gone
OLDER_RUNS = "a ledger of an older version runs, or did a moment ago: upgrade it, and ask again in a minute"
AT_ONCE_CALLS = 20_000  # books with so many are taken over in the act's own commit: it reads all transfers
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
        AND t.request_id NOT IN (SELECT transfer FROM credits WHERE kind = 'deposit')
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

    False while an older ledger is seen, and while large books are taken over beside. It must come before anything is locked.
    """
    rows = await tx.fetch("SELECT id, revision, seen_ms FROM ledgers")
    for id_, _, seen_ms in rows:
        if id_ == LEAST:
            return bool(seen_ms)
    if _older_seen(tx, rows):
        return False
    (calls,) = await tx.fetch("SELECT COALESCE(MAX(seq), 0) FROM usage")
    if calls[0] > AT_ONCE_CALLS:
        return False
    await _refuse_older(tx, tx.now_ms)
    for sql in (*_SPENT_SQL, _CREDITS_SQL):
        await tx.execute(sql)
    return True


def _older_seen(tx: Transaction, rows: Sequence[Row]) -> bool:
    return any(row[1] < KNOWN_REVISION and row[2] > tx.now_ms - SEEN_MS for row in rows)


async def _refuse_older(tx: Transaction, seen_ms: int) -> None:
    """Lets no older ledger move money from now on. Those that move some just now are waited for."""
    if tx.dialect == "postgresql":
        await tx.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
    else:
        await tx.execute(_REFUSE_SQLITE)
    await tx.execute(SEEN_SQL, LEAST, KNOWN_REVISION, seen_ms)


async def take_over(store: Store) -> None:
    """Takes large books over, once no older ledger is seen: in steps beside calls, again from where a kill left them.

    First older ledgers are refused, then what they left out is filled in, and only then acts are admitted.
    """
    async with store.write() as tx:
        if await admitted(tx):
            return
        rows = await tx.fetch("SELECT id, revision, seen_ms FROM ledgers")
        if _older_seen(tx, [row for row in rows if row[0] != LEAST]):
            return
        if not any(row[0] == LEAST for row in rows):
            await _refuse_older(tx, 0)
    if await fill(store):
        async with store.write() as tx:
            await tx.execute(SEEN_SQL, LEAST, KNOWN_REVISION, tx.now_ms)
