"""Owns which role may say and hear what on the bus. What a role may ask a ledger follows from the verbs' own rows."""

from msgspec import Struct

from schemas.bus import subjects
from schemas.bus.subjects import (
    BEATS,
    EDGE_BEATS,
    EVENTS_STREAM,
    ITEMS_STREAM,
    LEDGER_QUEUE,
    LEDGERS,
    THOUGHTS_STREAM,
    USAGE_CONSUMER,
    USAGE_STREAM,
    WORKERS_QUEUE,
    Role,
    frames_all,
    reply_prefix,
)
from schemas.every_verb import EVERY_VERB

# Stands in a subject for the id of the connection itself; nats-server fills it in. It leaves out every queue group of a
# list that has one, so a role that takes its share of a queue has no subscription of its own.
OWN = "{{subject()}}"


class Permissions(Struct, frozen=True):
    """What a role may publish and subscribe to. A queue group stands after its subject, as nats-server writes it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def asks(role: Role) -> tuple[str, ...]:
    """The subjects of the verbs that a role may ask."""
    return tuple(verb.subject for verb in EVERY_VERB if role in verb.roles)


def own_replies(role: Role) -> str:
    """The replies to one connection of a role."""
    return f"{reply_prefix(role)}.{OWN}.>"


_API = subjects.JETSTREAM_API
_EVENTS = f"{USAGE_STREAM}.{USAGE_CONSUMER}"
PERMISSIONS: dict[Role, Permissions] = {
    Role.EDGE: Permissions(
        publish=(subjects.POOLS, subjects.CONTROLS, subjects.edge_beat(OWN), *asks(Role.EDGE)),
        subscribe=(frames_all(OWN), own_replies(Role.EDGE), BEATS, EDGE_BEATS),
    ),
    Role.WORKER: Permissions(
        publish=(
            "_INBOX.*.f.>",
            subjects.beat("*", OWN),
            *asks(Role.WORKER),
            subjects.thought(">"),
            f"{_API}.STREAM.INFO.{THOUGHTS_STREAM}",
            f"{_API}.DIRECT.GET.{THOUGHTS_STREAM}.>",
            subjects.item(">"),
            subjects.ITEM_READ,
            subjects.ITEMS_PURGE,
        ),
        subscribe=(subjects.control(OWN), own_replies(Role.WORKER)),
    ),
    # Takes jobs and publishes their bills; what is written to a job's reply is the worker's, which may not bill.
    # Its own replies say only that a bill is stored.
    Role.USAGE: Permissions(
        publish=(subjects.usage("*"),),
        subscribe=(f"{subjects.POOLS} {WORKERS_QUEUE}", f"{reply_prefix(Role.USAGE)}.>"),
    ),
    Role.LEDGER: Permissions(
        publish=(
            "_INBOX.*.r.>",
            f"{_API}.INFO",
            f"$JS.ACK.{_EVENTS}.>",
            f"{_API}.STREAM.CREATE.{USAGE_STREAM}",
            f"{_API}.STREAM.INFO.{USAGE_STREAM}",
            f"{_API}.STREAM.MSG.GET.{USAGE_STREAM}",
            f"{_API}.STREAM.CREATE.{THOUGHTS_STREAM}",
            f"{_API}.STREAM.INFO.{THOUGHTS_STREAM}",
            f"{_API}.STREAM.CREATE.{ITEMS_STREAM}",
            f"{_API}.STREAM.INFO.{ITEMS_STREAM}",
            f"{_API}.STREAM.CREATE.{EVENTS_STREAM}",
            f"{_API}.STREAM.INFO.{EVENTS_STREAM}",
            f"{_API}.CONSUMER.NAMES.{EVENTS_STREAM}",
            f"{_API}.CONSUMER.DURABLE.CREATE.{EVENTS_STREAM}.*",
            f"{_API}.CONSUMER.DELETE.{EVENTS_STREAM}.*",
            subjects.event(">"),
            subjects.hook("*"),
            f"{_API}.CONSUMER.CREATE.{_EVENTS}",
            f"{_API}.CONSUMER.CREATE.{_EVENTS}.>",
            f"{_API}.CONSUMER.DURABLE.CREATE.{_EVENTS}",
            f"{_API}.CONSUMER.DELETE.{_EVENTS}",
            f"{_API}.CONSUMER.INFO.{_EVENTS}",
            subjects.next_events(),
        ),
        subscribe=(f"{LEDGERS} {LEDGER_QUEUE}", BEATS, f"{reply_prefix(Role.LEDGER)}.>"),
    ),
    Role.COMMAND: Permissions(publish=asks(Role.COMMAND), subscribe=(own_replies(Role.COMMAND),)),
    # Takes each endpoint's share of the stream EVENTS from a consumer that a ledger has made: with a right to make one it
    # could have the server publish to any subject.
    Role.CONSOLE: Permissions(
        publish=(
            *asks(Role.CONSOLE),
            f"{_API}.CONSUMER.MSG.NEXT.{EVENTS_STREAM}.*",
            f"$JS.ACK.{EVENTS_STREAM}.>",
        ),
        subscribe=(own_replies(Role.CONSOLE),),
    ),
}

# Of these there may be one a pool, `worker.openai`, whose credential is no use in another.
POOL_ROLES = (Role.WORKER, Role.USAGE)


def is_user(name: str) -> bool:
    """Whether this names a role, or a role of one pool."""
    role, dot, pool = name.partition(".")
    return role in POOL_ROLES and subjects.is_token(pool) if dot else role in set(Role)


def permissions_of(name: str) -> Permissions:
    """What a user may, by its role's name or, of one pool alone, by `role.pool`. Raises ValueError for what is neither."""
    if not is_user(name):
        raise ValueError(f"{name!r} is no role, nor one of a pool")
    role, _, pool = name.partition(".")
    allowed = PERMISSIONS[Role(role)]
    if not pool:
        return allowed
    one = {
        f"{subjects.POOLS} {WORKERS_QUEUE}": f"{subjects.pool(pool)} {WORKERS_QUEUE}",
        subjects.usage("*"): subjects.usage(pool),
        subjects.beat("*", OWN): subjects.beat(pool, OWN),
    }
    return Permissions(
        publish=tuple(one.get(subject, subject) for subject in allowed.publish),
        subscribe=tuple(one.get(subject, subject) for subject in allowed.subscribe),
    )
