"""Owns the reads of webhooks through a console: endpoints, what has happened, and what was delivered of it."""

from typing import Any

from ledger.rules.event_rows import DeliveryRow, Endpoint, EndpointStatus, EventRow
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.rows import row_of
from ledger.rules.webhooks import delivery_row, endpoint_row
from ledger.store.base import Store
from ledger.verbs.admin.base import Reading, Where, bound, newest, one, selected
from ledger.verbs.base import Services
from ledger.verbs.webhooks import EVENTS_PAGE_MAX, shown_event
from schemas.admin import reads
from schemas.admin.webhooks import DeliveryList, EndpointList, EventList, EventRef
from schemas.verbs.base import Rows
from schemas.verbs.webhooks import WebhookRef

RECENT = 1_000  # events among which one is looked for that was for an endpoint alone: no index has those
_EVENT_SQL = f"SELECT {selected(EventRow, 'r')} FROM events AS r WHERE r.id = $1 AND r.endpoint = ''"  # noqa: S608  made of our own column names
_RECENT_SQL = (
    f"SELECT {selected(EventRow, 'r')} FROM (SELECT * FROM events ORDER BY seq DESC LIMIT {RECENT}) AS r "  # noqa: S608  as above
    "WHERE r.id = $1 AND NOT r.again"
)
_OF_SQL = "r.endpoint IN (SELECT id FROM webhook_endpoints WHERE organization = {})"


def _endpoint_shown(row: Endpoint, now_ms: int) -> dict[str, Any]:
    return {"object": "webhook_endpoint", **endpoint_row(row, now_ms)}


def _event_shown(row: EventRow) -> dict[str, Any]:
    told = shown_event(
        row.id, row.type, row.organization, row.object, row.body, row.created_ms, row.published
    )
    return {"object": "event", **told}


async def _endpoints(services: Services, grant: Grant, query: EndpointList) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    where = Where()
    where.add("r.status <> {}", EndpointStatus.DELETED)
    if organization:
        where.add("r.organization = {}", organization)
    found = await newest(services.store, Endpoint, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    now_ms = services.store.now_ms()
    return Rows(tuple(_endpoint_shown(row, now_ms) for row in found[0]), cursor=found[1])


async def _known(store: Store, grant: Grant, id_: str) -> Endpoint | None:
    """An endpoint that whoever asks may see, a deleted one too; None if there is none."""
    row = await one(store, Endpoint, id_)
    return row if row is not None and grant.organization in ("", row.organization) else None


async def _endpoint(services: Services, grant: Grant, form: WebhookRef) -> Rows:
    row = await _known(services.store, grant, form.id)
    if row is None or row.status == EndpointStatus.DELETED:
        return missing("such webhook endpoint")
    return Rows((_endpoint_shown(row, services.store.now_ms()),))


async def _events(services: Services, grant: Grant, query: EventList) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    where = Where()
    where.add("r.endpoint = ''")
    for column, value in (("type", query.type), ("organization", organization)):
        if value:
            where.add(f"r.{column} = {{}}", value)
    limit = min(query.limit, EVENTS_PAGE_MAX)
    found = await newest(services.store, EventRow, where, limit=limit, after=query.after, by="seq")
    return found if isinstance(found, Rows) else Rows(tuple(map(_event_shown, found[0])), cursor=found[1])


async def _happened(store: Store, grant: Grant, id_: str) -> EventRow | None:
    """An event that whoever asks may see; None if there is none."""
    rows = await store.fetch(_EVENT_SQL, id_) or await store.fetch(_RECENT_SQL, id_)
    found = row_of(EventRow, rows[0]) if rows else None
    return found if found is not None and grant.organization in ("", found.organization) else None


async def _event(services: Services, grant: Grant, form: EventRef) -> Rows:
    row = await _happened(services.store, grant, form.id)
    return missing("such event") if row is None else Rows((_event_shown(row),))


async def _deliveries(services: Services, grant: Grant, query: DeliveryList) -> Rows:
    store, where = services.store, Where()
    if query.event:
        if await _happened(store, grant, query.event) is None:
            return missing("such event")
        where.add("r.event = {}", query.event)
    if query.endpoint:
        if await _known(store, grant, query.endpoint) is None:
            return missing("such webhook endpoint")
        where.add("r.endpoint = {}", query.endpoint)
    if grant.organization:  # what the deployment's own endpoints answered is not theirs
        where.add(_OF_SQL, grant.organization)
    found = await newest(store, DeliveryRow, where, limit=query.limit, after=query.after, by="id")
    if isinstance(found, Rows):
        return found
    return Rows(
        tuple({"object": "delivery", **delivery_row(row)} for row in found[0]),
        cursor=found[1],
    )


WEBHOOK_ENDPOINTS = Reading(question=reads.WEBHOOK_ENDPOINTS, answer=_endpoints)
WEBHOOK_ENDPOINT = Reading(question=reads.WEBHOOK_ENDPOINT, answer=_endpoint)
EVENTS = Reading(question=reads.EVENTS, answer=_events)
EVENT = Reading(question=reads.EVENT, answer=_event)
DELIVERIES = Reading(question=reads.DELIVERIES, answer=_deliveries)
