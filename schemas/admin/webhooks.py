"""Owns how webhook endpoints, events and deliveries are listed through a console."""

from msgspec import Struct

from schemas.verbs.base import VERSION


class EndpointList(Struct, frozen=True, array_like=True):
    """Asks for a page of endpoints, newest first, after one."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    organization: str = ""


class EventList(Struct, frozen=True, array_like=True):
    """Asks for a page of events, newest first, after one. Events are long: a page may have fewer than `limit` and still a cursor."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    type: str = ""
    organization: str = ""


class EventRef(Struct, frozen=True, array_like=True):
    """Names an event."""

    v: int
    id: str


class DeliveryList(Struct, frozen=True, array_like=True):
    """Asks for a page of deliveries, newest first, after one: of an endpoint, of an event, or both."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    endpoint: str = ""
    event: str = ""
