"""Owns the events: what the books tell of, by type, and how one travels from the ledger to whoever delivers it."""

from typing import Any, Final

import msgspec
from msgspec import Struct

ALL: Final = "*"  # in place of a list of types
BODY_BYTES_MAX: Final = 20_000  # of what a receiver is sent


class EventType(Struct, frozen=True):
    """One type of event: `<what>.<happened>`, and what `data.object` is then."""

    name: str
    object: str


# In the order of the documentation.
EVENTS: Final[tuple[EventType, ...]] = (
    EventType("key.created", "key"),
    EventType("key.updated", "key"),
    EventType("key.rotated", "key"),
    EventType("key.paused", "key"),
    EventType("key.expiring", "key"),
    EventType("key.expired", "key"),
    EventType("key.revoked", "key"),
    EventType("organization.created", "organization"),
    EventType("organization.updated", "organization"),
    EventType("organization.suspended", "organization"),
    EventType("balance.low", "balance"),
    EventType("balance.exhausted", "balance"),
    EventType("balance.recovered", "balance"),
    EventType("cap.alert", "cap"),
    EventType("cap.reached", "cap"),
    EventType("credit.created", "credit"),
    EventType("credit.expiring", "credit"),
    EventType("credit.expired", "credit"),
    EventType("call.refunded", "credit"),
    EventType("statement.issued", "statement"),
    EventType("account.refused", "account"),
    EventType("account.spent", "account"),
    EventType("account.recovered", "account"),
    EventType("pool.unserved", "pool"),
    EventType("pool.served", "pool"),
    EventType("books.finding", "finding"),
    EventType("event.parked", "parked_event"),
    EventType("config.reloaded", "configuration"),
    EventType("config.rejected", "configuration"),
    EventType("operator.signed_in", "operator"),
    EventType("operator.locked_out", "address"),
    EventType("webhook.disabled", "webhook_endpoint"),
    EventType("webhook.test", "webhook_endpoint"),
)
BY_NAME: Final = {one.name: one for one in EVENTS}


class Event(Struct, frozen=True, array_like=True):
    """One event in the stream EVENTS, as msgpack. `body` is the JSON that a receiver is sent, for ever the same bytes."""

    v: int
    id: str
    type: str
    organization: str  # whose it is; empty for what concerns the operator alone
    body: bytes
    created_ms: int


_encode_json = msgspec.json.Encoder().encode
encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode


def body_of(type_: str, timestamp: str, data: dict[str, Any]) -> bytes:
    """What a receiver is sent. `timestamp` is ISO 8601: when it happened."""
    return _encode_json({"type": type_, "timestamp": timestamp, "data": {"object": data}})
