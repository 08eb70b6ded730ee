"""Owns the forms of acts on webhook endpoints, and how endpoints, deliveries and events are asked for.

The acts are `webhook_create`, `webhook_update`, `webhook_delete`, `webhook_rotate`, `webhook_test`, `webhook_replay`.
"""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb
from schemas.webhooks import OVERLAP_MS


class WebhookCreate(Struct, frozen=True, array_like=True):
    """Makes an endpoint. `events` are types, or `*` alone; an empty organisation is for all of them.

    Whoever asks makes the secret, and shows it: no answer has it.
    """

    v: int
    url: str
    secret: str
    events: tuple[str, ...]
    organization: str = ""


class WebhookUpdate(Struct, frozen=True, array_like=True):
    """Changes an endpoint: what is None, or an empty `status`, stays. `status` is `enabled` or `disabled`.

    One that is enabled again gets what happens from then on.
    """

    v: int
    id: str
    url: str | None = None
    events: tuple[str, ...] | None = None
    status: str = ""


class WebhookRef(Struct, frozen=True, array_like=True):
    """Names an endpoint: `webhook_delete` ends it for good, `webhook_test` sends it an event `webhook.test`."""

    v: int
    id: str


class WebhookRotate(Struct, frozen=True, array_like=True):
    """Gives an endpoint another secret; the one before signs beside it for `overlap_ms` more."""

    v: int
    id: str
    secret: str
    overlap_ms: int = OVERLAP_MS


class WebhookReplay(Struct, frozen=True, array_like=True):
    """Has an endpoint get an event again, or all that it wants since a moment, or since `ago_s`: with the same id. One is set.

    Its answer says how many, and where there are `more`, since when to ask next.
    """

    v: int
    id: str
    event: str = ""
    since_ms: int = 0
    ago_s: int = 0


class WebhooksQuery(Struct, frozen=True, array_like=True):
    """Asks for endpoints by id, after one: of an organisation, or all; or with `id` for one."""

    v: int = VERSION
    after: str = ""
    limit: int = 100
    organization: str = ""
    id: str = ""


class DeliveriesQuery(Struct, frozen=True, array_like=True):
    """Asks for deliveries, newest first, before a delivery's id: of an endpoint, of an event, or both."""

    v: int = VERSION
    before: str = ""
    limit: int = 100
    endpoint: str = ""
    event: str = ""


class EventsQuery(Struct, frozen=True, array_like=True):
    """Asks for events, newest first, before a cursor; empty fields ask for all, `id` for one."""

    v: int = VERSION
    before: int = 0
    limit: int = 100
    type: str = ""
    organization: str = ""
    id: str = ""


WEBHOOKS: Verb[WebhooksQuery, Rows] = Verb(
    name="webhooks", form=WebhooksQuery, reply=Rows, roles=(Role.COMMAND,)
)
DELIVERIES: Verb[DeliveriesQuery, Rows] = Verb(
    name="deliveries", form=DeliveriesQuery, reply=Rows, roles=(Role.COMMAND,)
)
EVENTS: Verb[EventsQuery, Rows] = Verb(name="events", form=EventsQuery, reply=Rows, roles=(Role.COMMAND,))
