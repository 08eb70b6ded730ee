"""Owns the routes of webhooks: endpoints, the events that happened, and their deliveries."""

import re
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from console.api.base import Call, Route, shaped
from console.api.fields import Body, Id, Page, PageQuery, Text, told
from schemas.admin import reads
from schemas.admin.webhooks import DeliveryList, EndpointList, EventList, EventRef
from schemas.events import ALL, EVENTS
from schemas.verbs.base import VERSION
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookReplay, WebhookRotate, WebhookUpdate
from schemas.webhooks import OVERLAP_MAX_MS, OVERLAP_MS, URL_CHARS_MAX, new_secret

_NAMES = "|".join(re.escape(one) for one in (ALL, *(event.name for event in EVENTS)))
EventName = Annotated[str, Meta(pattern=f"^({_NAMES})$", examples=["balance.low"])]
EventNames = Annotated[tuple[EventName, ...], Meta(min_length=1, max_length=len(EVENTS))]
Address = Annotated[str, Meta(min_length=1, max_length=URL_CHARS_MAX, examples=["https://example.com/hook"])]
Overlap = Annotated[
    int, Meta(ge=0, le=OVERLAP_MAX_MS // 1000, description="Seconds, in which the old secret signs too.")
]
Since = Annotated[int, Meta(ge=1, le=253_402_300_799, description="Unix seconds.")]


class SigningSecret(Struct, frozen=True, kw_only=True):
    """A secret that signs, by its last four characters."""

    id: str
    hint: str
    created: int
    expires_at: int | None


class WebhookEndpoint(Struct, frozen=True, kw_only=True):
    """Where events are sent. `secret` is there in the one answer that makes it; `organization` null is for all of them."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    url: str
    events: tuple[str, ...]
    organization: str | None
    status: Literal["enabled", "disabled", "deleted"]
    disabled_reason: str | None
    failing_since: int | None
    secrets: tuple[SigningSecret, ...]
    created: int
    version: int
    secret: str | None = None


class EndpointBody(Body, frozen=True, kw_only=True):
    """A new endpoint. `events` are types, or `*` alone for all of them, those of later versions too."""

    url: Address
    events: EventNames = (ALL,)
    organization: Id | UnsetType = UNSET


class EndpointChange(Body, frozen=True, kw_only=True):
    """What is to change; what is not there stays. One that is enabled again gets what happens from then on."""

    url: Address | UnsetType = UNSET
    events: EventNames | UnsetType = UNSET
    status: Literal["enabled", "disabled"] | UnsetType = UNSET


class RotateBody(Body, frozen=True, kw_only=True):
    """How long the secrets of before sign beside the new one."""

    overlap: Overlap = OVERLAP_MS // 1000


class ReplayBody(Body, frozen=True, kw_only=True):
    """Since when everything that the endpoint wants is sent again."""

    since: Since


class DeliveryBody(Body, frozen=True, kw_only=True):
    """Where an event is sent again."""

    endpoint: Id


class SentTest(Struct, frozen=True, kw_only=True):
    """An event of the type `webhook.test` that goes to one endpoint: its deliveries say what became of it."""

    object: Literal["webhook_test"] = "webhook_test"
    endpoint: str
    event: str


class Replay(Struct, frozen=True, kw_only=True):
    """How many events are sent again, with the ids that they had. `more_since` is where the next replay begins, if not all were."""

    object: Literal["webhook_replay"] = "webhook_replay"
    endpoint: str
    events: int
    more_since: int | None


class Event(Struct, frozen=True, kw_only=True):
    """Something that has happened. `data` is what receivers are sent; `about` the id of its object."""

    object: Literal["event"] = "event"
    id: str
    type: str
    organization: str | None
    about: str
    data: dict[str, Any]
    published: bool
    created: int


class Delivery(Struct, frozen=True, kw_only=True):
    """One attempt to deliver an event. `code` is the HTTP status, `response` the first KiB of the answer."""

    object: Literal["delivery"] = "delivery"
    id: str
    endpoint: str
    event: str
    type: str
    attempt: int
    status: str
    code: int | None
    ms: int
    response: str
    error: str | None
    next_at: int | None
    created: int


class EndpointQuery(PageQuery, frozen=True, kw_only=True):
    """Which endpoints."""

    organization: Text = ""


class EventQuery(PageQuery, frozen=True, kw_only=True):
    """Which events. A page may have fewer rows than its limit and still a `next`."""

    type: Text = ""
    organization: Text = ""


class DeliveryQuery(PageQuery, frozen=True, kw_only=True):
    """Which deliveries of an event."""

    endpoint: Text = ""


def _ref(call: Call) -> WebhookRef:
    return WebhookRef(VERSION, call.path["id"])


async def _create(call: Call) -> WebhookEndpoint:
    body: EndpointBody = call.body
    secret = new_secret()
    organization = told(body.organization) or await call.organization()
    form = WebhookCreate(VERSION, body.url, secret, body.events, organization)
    made = shaped(await call.act("webhook_create", form), WebhookEndpoint)
    return replace(made, secret=None if call.replayed else secret)


async def _list(call: Call) -> Page[WebhookEndpoint]:
    query: EndpointQuery = call.query
    form = EndpointList(VERSION, query.limit, query.starting_after, query.organization)
    return await call.page(reads.WEBHOOK_ENDPOINTS, form, WebhookEndpoint)


async def _show(call: Call) -> WebhookEndpoint:
    return await call.one(reads.WEBHOOK_ENDPOINT, _ref(call), WebhookEndpoint)


async def _change(call: Call) -> WebhookEndpoint:
    body: EndpointChange = call.body
    form = WebhookUpdate(VERSION, call.path["id"], told(body.url), told(body.events), told(body.status, ""))
    return shaped(await call.act("webhook_update", form), WebhookEndpoint)


async def _delete(call: Call) -> WebhookEndpoint:
    return shaped(await call.act("webhook_delete", _ref(call)), WebhookEndpoint)


async def _rotate(call: Call) -> WebhookEndpoint:
    secret = new_secret()
    form = WebhookRotate(VERSION, call.path["id"], secret, call.body.overlap * 1000)
    made = shaped(await call.act("webhook_rotate", form), WebhookEndpoint)
    return replace(made, secret=None if call.replayed else secret)


async def _test(call: Call) -> SentTest:
    row = await call.act("webhook_test", _ref(call))
    return SentTest(endpoint=row["id"], event=row["event"])


def _replayed(row: dict[str, Any]) -> Replay:
    return Replay(endpoint=row["id"], events=row["events"], more_since=row["more_since"])


async def _replay(call: Call) -> Replay:
    form = WebhookReplay(VERSION, call.path["id"], since_ms=call.body.since * 1000)
    return _replayed(await call.act("webhook_replay", form))


async def _events(call: Call) -> Page[Event]:
    query: EventQuery = call.query
    form = EventList(VERSION, query.limit, query.starting_after, query.type, query.organization)
    return await call.page(reads.EVENTS, form, Event)


async def _event(call: Call) -> Event:
    return await call.one(reads.EVENT, EventRef(VERSION, call.path["id"]), Event)


async def _deliveries(call: Call) -> Page[Delivery]:
    query: DeliveryQuery = call.query
    form = DeliveryList(VERSION, query.limit, query.starting_after, query.endpoint, call.path["id"])
    return await call.page(reads.DELIVERIES, form, Delivery)


async def _deliver(call: Call) -> Replay:
    form = WebhookReplay(VERSION, call.body.endpoint, event=call.path["id"])
    return _replayed(await call.act("webhook_replay", form))


_READ, _WRITE = "webhooks:read", "webhooks:write"
_ENDPOINT = {"what": "webhook endpoint", "answer": WebhookEndpoint}


def _route(method: str, path: str, summary: str, scope: str, **fields: Any) -> Route:
    return Route(method=method, path=path, summary=summary, scope=scope, **fields)


WEBHOOKS = (
    _route(
        "POST",
        "/webhook_endpoints",
        "Make an endpoint; the answer alone has its secret",
        _WRITE,
        what="organization",
        answer=WebhookEndpoint,
        body=EndpointBody,
        status=201,
        handle=_create,
    ),
    _route(
        "GET",
        "/webhook_endpoints",
        "List webhook endpoints",
        _READ,
        what="webhook endpoint",
        answer=Page[WebhookEndpoint],
        query=EndpointQuery,
        handle=_list,
    ),
    _route("GET", "/webhook_endpoints/{id}", "Show an endpoint", _READ, handle=_show, **_ENDPOINT),
    _route(
        "PATCH",
        "/webhook_endpoints/{id}",
        "Change, enable or disable an endpoint",
        _WRITE,
        body=EndpointChange,
        handle=_change,
        current=_show,
        **_ENDPOINT,
    ),
    _route(
        "DELETE",
        "/webhook_endpoints/{id}",
        "Delete an endpoint, for good; its deliveries stay",
        _WRITE,
        handle=_delete,
        current=_show,
        **_ENDPOINT,
    ),
    _route(
        "POST",
        "/webhook_endpoints/{id}/rotate",
        "Give an endpoint another secret; the answer alone has it",
        _WRITE,
        body=RotateBody,
        handle=_rotate,
        **_ENDPOINT,
    ),
    _route(
        "POST",
        "/webhook_endpoints/{id}/test",
        "Send an endpoint, and no other, an event of the type webhook.test",
        _WRITE,
        what="webhook endpoint",
        answer=SentTest,
        status=201,
        handle=_test,
    ),
    _route(
        "POST",
        "/webhook_endpoints/{id}/replay",
        "Send an endpoint again what it wants since a moment, at most 1,000 events",
        _WRITE,
        what="webhook endpoint",
        answer=Replay,
        body=ReplayBody,
        status=201,
        handle=_replay,
    ),
    _route(
        "GET",
        "/events",
        "List what has happened in the last 90 days",
        _READ,
        what="event",
        answer=Page[Event],
        query=EventQuery,
        handle=_events,
    ),
    _route("GET", "/events/{id}", "Show an event", _READ, what="event", answer=Event, handle=_event),
    _route(
        "GET",
        "/events/{id}/deliveries",
        "List the attempts to deliver an event",
        _READ,
        what="event",
        answer=Page[Delivery],
        query=DeliveryQuery,
        handle=_deliveries,
    ),
    _route(
        "POST",
        "/events/{id}/deliveries",
        "Send an event again to an endpoint",
        _WRITE,
        what="event or webhook endpoint",
        answer=Replay,
        body=DeliveryBody,
        status=201,
        handle=_deliver,
    ),
)
