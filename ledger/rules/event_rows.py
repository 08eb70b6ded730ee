"""Owns the rows of events and webhooks: the outbox, the endpoints, what was delivered, and what was told last."""

from typing import ClassVar

from ledger.rules.rows import Row
from ledger.rules.rowset import RowSet


class EventRow(Row, kw_only=True):
    """One event in the outbox: written in the commit that causes it, published afterwards.

    `object` is the id of what it is about, `body` the JSON that receivers are sent. `endpoint` is empty where it is for
    all of them; it names the one that a test or a repetition is for. `again` says that it is a repetition.
    """

    TABLE: ClassVar[str] = "events"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    SORTED: ClassVar[bool] = False  # they are numbered as they come

    id: str
    type: str
    organization: str
    object: str
    body: str
    created_ms: int
    endpoint: str = ""
    again: bool = False
    published: bool = False


class EndpointStatus:
    """What a webhook endpoint is. A deleted one keeps its row, for its deliveries."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


class Endpoint(Row, kw_only=True):
    """Where events are sent. `events` is a JSON list of types, or of `*`; an empty organisation is for all of them.

    `secrets` is JSON, and sealed (`ledger.rules.sealed`). It gets what happened since `since_ms`. `failing_ms`
    is when its first delivery after the last success failed, 0 where none has.
    """

    TABLE: ClassVar[str] = "webhook_endpoints"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "url",
        "events",
        "status",
        "reason",
        "secrets",
        "since_ms",
        "failing_ms",
        "version",
    )

    id: str
    url: str
    events: str
    organization: str
    status: str
    reason: str
    secrets: str
    created_ms: int
    since_ms: int
    failing_ms: int = 0
    version: int = 1


class DeliveryRow(Row, kw_only=True):
    """One attempt to deliver an event. `code` is the HTTP status, 0 without an answer; `response` its first bytes."""

    TABLE: ClassVar[str] = "deliveries"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    endpoint: str
    event: str
    type: str
    attempt: int
    status: str
    code: int
    ms: int
    response: str
    error: str
    next_ms: int
    created_ms: int


class HookRows:
    """Where events go."""

    __slots__ = ("deliveries", "endpoints", "held", "repeated")

    def __init__(self) -> None:
        self.endpoints = RowSet(Endpoint)
        self.held = 0  # by the organisation of one that is about to be made
        self.repeated: list[EventRow] = []  # what one is to get again
        self.deliveries: list[DeliveryRow] = []
