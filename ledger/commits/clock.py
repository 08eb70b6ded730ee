"""Owns what the clock brings about: keys and credits that end soon, keys that have ended, and rows that are old enough to go.

For each kind a mark says up to which moment all was told. It moves in the transaction that tells, so it is told once.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from ledger.commits.fetching import fetch_by
from ledger.commits.load_save import save
from ledger.commits.telling_alone import lone_book
from ledger.commits.writer import Writer
from ledger.rules import telling
from ledger.store.base import Store, StoreError, Transaction
from runtime.log import get_logger

INTERVAL_S: Final = 60.0
ROWS_MAX: Final = 5_000  # of one kind in one round, but for those of one and the same millisecond
DAY_MS: Final = 86_400_000
EVENTS_KEPT_MS: Final = 90 * DAY_MS
DELIVERIES_KEPT_MS: Final = 30 * DAY_MS
PRUNED_MAX: Final = 5_000  # rows of one table in one round
_logger = get_logger("ledger.clock")


class Due(Struct, frozen=True):
    """A kind of thing that ends: what is told of it so long before."""

    event: str
    before_ms: int
    table: str
    where: str

    @property
    def mark(self) -> str:
        """The id of its mark."""
        return f"clock:{self.event}:{self.before_ms}"


DUE: Final = (
    Due("key.expiring", 7 * DAY_MS, "api_keys", "status <> 'revoked'"),
    Due("key.expiring", DAY_MS, "api_keys", "status <> 'revoked'"),
    Due("key.expired", 0, "api_keys", "status <> 'revoked'"),
    Due("credit.expiring", 7 * DAY_MS, "credits", "remaining_nano > 0"),
    Due("credit.expiring", DAY_MS, "credits", "remaining_nano > 0"),
)
_PRUNE_EVENTS_SQL = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE created_ms < $1 ORDER BY created_ms LIMIT $2)"
_PRUNE_DELIVERIES_SQL = (
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE id < $1 ORDER BY id LIMIT $2)"
)


async def keep_time(writer: Writer, interval_s: float = INTERVAL_S) -> None:
    """Looks until cancelled."""
    while True:
        try:
            for due in DUE:
                await writer.between(partial(tell_due, writer.committer.store, due))
            await writer.between(partial(prune, writer.committer.store))
        except StoreError as error:
            _logger.warning("what the clock brings about has to wait", error=str(error))
        except Exception:
            _logger.exception("what the clock brings about failed")
        await asyncio.sleep(interval_s)


async def tell_due(store: Store, due: Due) -> None:
    """Tells of what has come within so much of its end since the last time. The first time it only sets the mark."""
    async with store.write() as tx:
        rows = await tx.fetch(f"SELECT at_ms FROM told WHERE id = $1{tx.locked}", due.mark)  # noqa: S608  tx.locked is the store's own word
        if not rows:
            await tx.execute("INSERT INTO told (id, state, at_ms) VALUES ($1, '', $2)", due.mark, tx.now_ms)
            return
        begin_ms, end_ms = int(rows[0][0]) + due.before_ms, tx.now_ms + due.before_ms
        if end_ms <= begin_ms:
            return
        ids, end_ms = await _ending(tx, due, begin_ms, end_ms)
        if ids:
            await _tell(tx, due, ids)
        await tx.execute("UPDATE told SET at_ms = $2 WHERE id = $1", due.mark, end_ms - due.before_ms)


async def _ending(tx: Transaction, due: Due, begin_ms: int, end_ms: int) -> tuple[list[str], int]:
    """What ends after one moment and up to another; of too many those up to an earlier one, which is the mark then."""
    sql = (
        f"SELECT id, expires_ms FROM {due.table} WHERE expires_ms > 0 AND expires_ms > $1 AND expires_ms <= $2 "  # noqa: S608  our own names
        f"AND {due.where} ORDER BY expires_ms, id"
    )
    rows = await tx.fetch(f"{sql} LIMIT $3", begin_ms, end_ms, ROWS_MAX + 1)
    if len(rows) > ROWS_MAX:
        end_ms = max(int(rows[-1][1]) - 1, int(rows[0][1]))
        rows = await tx.fetch(sql, begin_ms, end_ms)
    return [row[0] for row in rows], end_ms


async def _tell(tx: Transaction, due: Due, ids: Sequence[str]) -> None:
    book = lone_book(tx)
    if due.table == "credits":
        await fetch_by(tx, book.credits, "id", ids)
        for credit in book.credits.values():
            telling.tell_credit(book, credit, due.event)
    else:
        await fetch_by(tx, book.keys, "id", ids)
        await fetch_by(tx, book.accounts, "id", [key.account_id for key in book.keys.values()])
        for key in book.keys.values():
            telling.tell_key(book, key, due.event)
    await save(tx, book, None)


async def prune(store: Store) -> None:
    """Takes away events and deliveries that were kept long enough."""
    async with store.write() as tx:
        await tx.execute(_PRUNE_EVENTS_SQL, tx.now_ms - EVENTS_KEPT_MS, PRUNED_MAX)
        oldest = f"dlv_{max(tx.now_ms - DELIVERIES_KEPT_MS, 0):012x}"
        await tx.execute(_PRUNE_DELIVERIES_SQL, oldest, PRUNED_MAX)
