"""Owns the answer with events that could not be applied, as far as they can be read."""

from typing import Any

from msgspec.structs import asdict

from ledger.acts.parked import read_event
from ledger.rules.rows import Parked, row_of
from ledger.store.base import Store
from ledger.store.statements import PARKED as TABLE
from ledger.store.statements import columns
from ledger.verbs.base import Read
from schemas.verbs import parked as verbs
from schemas.verbs.base import Rows
from schemas.verbs.parked import ParkedQuery

PAGE_MAX = 100  # rows, so that a page fits one message of the bus
RAW_BYTES_MAX = 2_000  # of what cannot be read
_SQL = (
    f"SELECT {columns(TABLE)} FROM parked_events WHERE ($1 = '' OR request_id = $1) "  # noqa: S608  made of our own column names
    "ORDER BY created_ms DESC, request_id, attempt LIMIT $2"
)


async def parked(store: Store, query: ParkedQuery) -> Rows:
    """The newest of them."""
    rows = await store.fetch(_SQL, query.request_id, min(max(query.limit, 1), PAGE_MAX))
    return Rows(tuple(_shown(row_of(Parked, row)) for row in rows))


def _shown(row: Parked) -> dict[str, Any]:
    event = read_event(row)
    return {
        "request_id": row.request_id,
        "attempt": row.attempt,
        "why": row.reason,
        "pool": None if event is None else event.pool,
        "outcome": None if event is None else event.outcome.value,
        "tokens": None if event is None else asdict(event.usage),
        "upstreams": [] if event is None else [one.upstream for one in event.tries],
        "raw": row.payload[:RAW_BYTES_MAX].hex() if event is None else None,
        "created": row.created_ms // 1000,
    }


PARKED = Read(verb=verbs.PARKED, answer=lambda services, request: parked(services.store, request))
