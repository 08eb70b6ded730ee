"""Owns which role may say and hear what on the bus. What a role may ask a ledger follows from the verbs' own rows."""

from msgspec import Struct

from schemas.bus import subjects
from schemas.bus.subjects import (
    BEATS,
    EDGE_BEATS,
    ITEMS_STREAM,
    LEDGER_QUEUE,
    LEDGERS,
    THOUGHTS_STREAM,
    USAGE_CONSUMER,
    USAGE_STREAM,
    WORKERS_QUEUE,
    Role,
    reply_prefix,
)
from schemas.verbs import VERBS


class Permissions(Struct, frozen=True):
    """What a role may publish and subscribe to. A queue group stands after its subject, as nats-server writes it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def asks(role: Role) -> tuple[str, ...]:
    """The subjects of the verbs that a role may ask."""
    return tuple(verb.subject for verb in VERBS if role in verb.roles)


_API = subjects.JETSTREAM_API
_EVENTS = f"{USAGE_STREAM}.{USAGE_CONSUMER}"
PERMISSIONS: dict[Role, Permissions] = {
    Role.EDGE: Permissions(
        publish=(subjects.POOLS, subjects.CONTROLS, EDGE_BEATS, *asks(Role.EDGE)),
        subscribe=("_INBOX.*.f.>", f"{reply_prefix(Role.EDGE)}.>", BEATS, EDGE_BEATS),
    ),
    Role.WORKER: Permissions(
        publish=(
            "_INBOX.*.f.>",
            subjects.beat("*", "*"),
            *asks(Role.WORKER),
            subjects.thought(">"),
            f"{_API}.STREAM.INFO.{THOUGHTS_STREAM}",
            f"{_API}.DIRECT.GET.{THOUGHTS_STREAM}.>",
            subjects.item(">"),
            subjects.ITEM_READ,
            subjects.ITEMS_PURGE,
        ),
        subscribe=(f"{subjects.POOLS} {WORKERS_QUEUE}", subjects.CONTROLS, f"{reply_prefix(Role.WORKER)}.>"),
    ),
    Role.USAGE: Permissions(publish=(subjects.usage("*"),), subscribe=(f"{reply_prefix(Role.USAGE)}.>",)),
    Role.LEDGER: Permissions(
        publish=(
            "_INBOX.*.r.>",
            f"{_API}.INFO",
            f"$JS.ACK.{_EVENTS}.>",
            f"{_API}.STREAM.CREATE.{USAGE_STREAM}",
            f"{_API}.STREAM.UPDATE.{USAGE_STREAM}",
            f"{_API}.STREAM.INFO.{USAGE_STREAM}",
            f"{_API}.STREAM.MSG.GET.{USAGE_STREAM}",
            f"{_API}.STREAM.CREATE.{THOUGHTS_STREAM}",
            f"{_API}.STREAM.UPDATE.{THOUGHTS_STREAM}",
            f"{_API}.STREAM.INFO.{THOUGHTS_STREAM}",
            f"{_API}.STREAM.CREATE.{ITEMS_STREAM}",
            f"{_API}.STREAM.UPDATE.{ITEMS_STREAM}",
            f"{_API}.STREAM.INFO.{ITEMS_STREAM}",
            f"{_API}.CONSUMER.CREATE.{_EVENTS}",
            f"{_API}.CONSUMER.CREATE.{_EVENTS}.>",
            f"{_API}.CONSUMER.DURABLE.CREATE.{_EVENTS}",
            f"{_API}.CONSUMER.DELETE.{_EVENTS}",
            f"{_API}.CONSUMER.INFO.{_EVENTS}",
            subjects.next_events(),
        ),
        subscribe=(f"{LEDGERS} {LEDGER_QUEUE}", BEATS, f"{reply_prefix(Role.LEDGER)}.>"),
    ),
    Role.COMMAND: Permissions(publish=asks(Role.COMMAND), subscribe=(f"{reply_prefix(Role.COMMAND)}.>",)),
}
