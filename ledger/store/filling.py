"""Owns what a migration fills in from all that was booked before: in a snapshot's time, and in commits that are short.

Older ledgers may run beside, and wait for no more than one part. A part sets what is still as the snapshot had it, so
any number of ledgers may fill at once, a kill costs nothing but another look, and what an older one books meanwhile is
found by the next look, at the latest once no older one is there.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from ledger.store.base import Row, Store, again

PART_ROWS: Final = 500  # that one commit writes
LOOKS_MAX: Final = 5  # in a row, while others write
LEAST: Final = "least"  # the row of `ledgers` that says which revision a ledger must know at least
_SPENT: Final = """
    SELECT a.id, COALESCE(s.nano, 0) AS moved, a.spent_nano FROM accounts AS a LEFT JOIN (
        SELECT account, SUM(nano) AS nano FROM (
            SELECT debit AS account, amount_nano AS nano FROM transfers WHERE kind IN ('charge', 'refund')
            UNION ALL SELECT credit, -amount_nano FROM transfers WHERE kind IN ('charge', 'refund')) AS sides
        GROUP BY account) AS s ON s.account = a.id
    WHERE a.kind IN ('metered', 'playground') AND a.spent_nano <> COALESCE(s.nano, 0) ORDER BY a.id
"""
_DEPOSITED: Final = """
    SELECT t.request_id, t.credit, t.amount_nano, t.created_ms FROM transfers AS t WHERE t.kind = 'deposit'
        AND t.request_id NOT IN (SELECT transfer FROM credits WHERE kind = 'deposit') ORDER BY t.request_id
"""
_COUNT: Final = "UPDATE accounts SET spent_nano = $1 WHERE id = $2 AND spent_nano = $3"
_CREDIT: Final = """
    INSERT INTO credits (id, kind, account_id, amount_nano, transfer, number, reason, reference, call, actor,
        expires_ms, lot_nano, remaining_nano, gone_nano, created_ms)
    VALUES ($1, 'deposit', $2, $3, $1, 0, '', '', '', '', 0, 0, 0, 0, $4) ON CONFLICT DO NOTHING
"""


async def taken_over(store: Store) -> bool:
    """Whether no older ledger can write any more, and all that they left out is in the books."""
    return bool(await store.fetch("SELECT 1 FROM ledgers WHERE id = $1 AND seen_ms > 0", LEAST))


async def fill(store: Store, looks: int = LOOKS_MAX) -> bool:
    """Fills in what is missing, look by look. Whether the last look found nothing. Raises StoreError."""
    for _ in range(looks):
        async with store.snapshot() as reader:
            spent = await reader.fetch(_SPENT)
            deposited = await reader.fetch(_DEPOSITED)
        if not spent and not deposited:
            return True
        await _write(store, _COUNT, [(row[1], row[0], row[2]) for row in spent])
        await _write(store, _CREDIT, deposited)
    return False


async def _write(store: Store, sql: str, rows: Sequence[Row]) -> None:
    for first in range(0, len(rows), PART_ROWS):
        await again(partial(_part, store, sql, rows[first : first + PART_ROWS]))


async def _part(store: Store, sql: str, rows: Sequence[Row]) -> None:
    async with store.write() as tx:
        for row in rows:
            await tx.execute(sql, *row)


async def fill_migrated(store: Store) -> None:
    """One look, for books that have been migrated: what an older ledger books from now on is found at the take-over."""
    if not await taken_over(store) and await store.fetch("SELECT 1 FROM transfers LIMIT 1"):
        await fill(store, looks=1)
