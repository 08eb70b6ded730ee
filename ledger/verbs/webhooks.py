"""Owns the pages of webhook endpoints, of deliveries and of events."""

from typing import Any

import msgspec

from ledger.rules.event_rows import DeliveryRow, Endpoint
from ledger.rules.missing import missing
from ledger.rules.rows import row_of
from ledger.rules.webhooks import delivery_row, endpoint_row
from ledger.store.base import Store
from ledger.store.statements import DELIVERIES as TABLE
from ledger.store.statements import ENDPOINTS, columns
from ledger.verbs.base import Read
from schemas.verbs import webhooks as verbs
from schemas.verbs.base import Rows
from schemas.verbs.webhooks import DeliveriesQuery, EventsQuery, WebhooksQuery

PAGE_MAX = 200
EVENTS_PAGE_MAX = 30  # so that a page of the longest fits one message of the bus
_ENDPOINTS_SQL = (
    f"SELECT {columns(ENDPOINTS)} FROM webhook_endpoints WHERE status <> 'deleted' AND id > $1 "  # noqa: S608  made of our own column names
    "AND ($2 = '' OR organization = $2) AND ($3 = '' OR id = $3) ORDER BY id LIMIT $4"
)
_DELIVERIES_SQL = (
    f"SELECT {columns(TABLE)} FROM deliveries WHERE ($1 = '' OR id < $1) "  # noqa: S608  as above
    "{endpoint}{event}ORDER BY id DESC LIMIT $2"
)
_EVENTS_SQL = (
    "SELECT seq, id, type, organization, object, body, created_ms, published FROM events WHERE NOT again "
    "AND seq < $1 AND ($2 = '' OR type = $2) AND ($3 = '' OR organization = $3) ORDER BY seq DESC LIMIT $4"
)
_EVENT_SQL = (
    "SELECT seq, id, type, organization, object, body, created_ms, published FROM events "
    "WHERE id = $1 AND endpoint = ''"
)


async def webhooks_page(store: Store, query: WebhooksQuery) -> Rows:
    """A page of endpoints, by id; or one."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    rows = await store.fetch(_ENDPOINTS_SQL, query.after, query.organization, query.id, limit)
    found = [row_of(Endpoint, row) for row in rows]
    if query.id and not found:
        return missing(f"webhook endpoint {query.id}")
    now_ms = store.now_ms()
    cursor = found[-1].id if len(found) == limit and not query.id else ""
    return Rows(tuple(endpoint_row(one, now_ms) for one in found), cursor=cursor)


async def deliveries_page(store: Store, query: DeliveriesQuery) -> Rows:
    """A page of deliveries, newest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    parameters: list[Any] = [query.before, limit]
    conditions = {"endpoint": "", "event": ""}
    for name in conditions:
        if value := getattr(query, name):
            parameters.append(value)
            conditions[name] = f"AND {name} = ${len(parameters)} "
    rows = await store.fetch(_DELIVERIES_SQL.format(**conditions), *parameters)
    found = [row_of(DeliveryRow, row) for row in rows]
    cursor = found[-1].id if len(found) == limit else ""
    return Rows(tuple(map(delivery_row, found)), cursor=cursor)


async def events_page(store: Store, query: EventsQuery) -> Rows:
    """A page of events, newest first; or one."""
    limit = min(max(query.limit, 1), EVENTS_PAGE_MAX)
    if query.id:
        rows = await store.fetch(_EVENT_SQL, query.id)
        rows = [row for row in rows if query.organization in ("", row[3])]
        if not rows:
            return missing(f"event {query.id}")
        return Rows((_event_row(rows[0]),))
    rows = await store.fetch(_EVENTS_SQL, query.before or 2**62, query.type, query.organization, limit)
    cursor = int(rows[-1][0]) if len(rows) == limit else 0
    return Rows(tuple(map(_event_row, rows)), cursor=cursor)


def _event_row(row: Any) -> dict[str, object]:
    return shown_event(*row[1:])


def shown_event(  # noqa: PLR0917  the columns of a row
    id_: str, type_: str, organization: str, about: str, body: str, created_ms: int, published: bool
) -> dict[str, object]:
    """An event as commands show it."""
    return {
        "id": id_,
        "type": type_,
        "organization": organization or None,
        "about": about,
        "data": msgspec.json.decode(body)["data"],
        "published": bool(published),
        "created": created_ms // 1000,
    }


WEBHOOKS = Read(verb=verbs.WEBHOOKS, answer=lambda services, request: webhooks_page(services.store, request))
DELIVERIES = Read(
    verb=verbs.DELIVERIES, answer=lambda services, request: deliveries_page(services.store, request)
)
EVENTS = Read(verb=verbs.EVENTS, answer=lambda services, request: events_page(services.store, request))
