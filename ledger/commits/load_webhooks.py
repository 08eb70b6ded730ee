"""Owns what is loaded for webhooks: endpoints, locked, how many there are, and events that are to be sent again."""

from ledger.commits.fetching import fetch_by
from ledger.commits.wanted import Repeated, Wanted
from ledger.rules.book import Book
from ledger.rules.event_rows import EventRow
from ledger.rules.rows import row_of
from ledger.rules.webhooks import REPLAY_MAX, types_of
from ledger.store.base import Transaction
from ledger.store.statements import EVENTS, columns

_HELD_SQL = "SELECT COUNT(*) FROM webhook_endpoints WHERE organization = $1 AND status <> 'deleted'"
_ONE_SQL = (
    f"SELECT {columns(EVENTS)} FROM events WHERE id = $1 AND endpoint = '' "  # noqa: S608  made of our own column names
    "AND ($2 = '' OR organization = $2)"
)
_SINCE_SQL = (
    f"SELECT {columns(EVENTS)} FROM events WHERE type {{among}} AND created_ms >= $2 AND endpoint = '' "  # noqa: S608  as above
    "AND ($3 = '' OR organization = $3) ORDER BY created_ms, seq LIMIT $4"
)


async def load_endpoints(tx: Transaction, book: Book, names: Wanted) -> None:
    """Loads and locks endpoints by their ids: before the audit log's head, since notes of deliveries lock them alone."""
    if names.endpoints:
        await fetch_by(tx, book.hooks.endpoints, "id", names.endpoints, locked=True)


async def load_webhooks(tx: Transaction, book: Book, names: Wanted) -> None:
    """What an act needs beside them, once it has the head."""
    if names.endpoints_of is not None:
        ((held,),) = await tx.fetch(_HELD_SQL, names.endpoints_of)
        book.hooks.held = int(held)
    if names.repeated is not None:
        await _load_repeated(tx, book, names.repeated)


async def _load_repeated(tx: Transaction, book: Book, asked: Repeated) -> None:
    endpoint = book.hooks.endpoints.get(asked.endpoint)
    if endpoint is None:
        return
    if asked.event:
        rows = await tx.fetch(_ONE_SQL, asked.event, endpoint.organization)
    else:
        sql = _SINCE_SQL.format(among=tx.among)
        types = tx.array(types_of(endpoint))
        since_ms = asked.since_ms or tx.now_ms - asked.ago_s * 1_000
        rows = await tx.fetch(sql, types, since_ms, endpoint.organization, REPLAY_MAX + 1)
    book.hooks.repeated = [row_of(EventRow, row) for row in rows]
