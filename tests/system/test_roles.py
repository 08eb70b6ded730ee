"""Owns the matrix of roles over a real bus: what each may say and hear, by what arrives and not by what is raised."""

import asyncio
import contextlib
import json

import nats
import pytest

from schemas.bus.subjects import Role
from schemas.every_verb import EVERY_VERB
from tests.fakes.caller import until
from tests.fakes.nats import NatsServer

pytestmark = pytest.mark.system

# Written out by hand, so that a change of the permissions is noticed here.
PUBLISH = {
    "pool.openai": {"edge"},
    "worker.w1": {"edge"},
    "beat.openai.w1": set(),
    "beat.openai.OWN": {"worker"},
    "beat.other.OWN": {"worker"},
    "edge.e1": set(),
    "edge.OWN": {"edge"},
    "usage.openai": {"usage"},
    "usage.other": {"usage"},
    "_INBOX.e1.f.c1.1": {"worker"},
    "_INBOX.e1.f.c1.1.s": {"worker"},
    "_INBOX.edge.r.x": {"ledger"},
    "_INBOX.worker.r.x": {"ledger"},
    "_INBOX.ledger.r.x": {"ledger"},
    "_INBOX.command.r.x": {"ledger"},
    "_INBOX.usage.r.x": {"ledger"},
    "_INBOX.console.r.x": {"ledger"},
    "ledger.ping": {"edge", "worker", "command", "console"},
    "ledger.key": {"edge"},
    "ledger.authorise": {"edge"},
    "ledger.reattempt": {"edge"},
    "ledger.release": {"edge"},
    "ledger.estimate": {"edge"},
    "ledger.generation": {"edge"},
    "ledger.catalogue": {"edge"},
    "ledger.renew": {"edge", "worker"},
    "ledger.inventory": {"worker"},
    "ledger.key_create": {"command"},
    "ledger.key_revoke": {"command"},
    "ledger.credit": {"command"},
    "ledger.balance": {"command"},
    "ledger.cap_create": {"command"},
    "ledger.cap_update": {"command"},
    "ledger.cap_end": {"command"},
    "ledger.cap_list": {"command"},
    "ledger.usage": {"command"},
    "ledger.audit": {"command"},
    "ledger.no_such_verb": set(),
    "$JS.API.STREAM.CREATE.USAGE": {"ledger"},
    "$JS.API.STREAM.UPDATE.USAGE": set(),
    "$JS.API.STREAM.UPDATE.KV_thoughts": set(),
    "$JS.API.STREAM.UPDATE.KV_items": set(),
    "$JS.API.STREAM.RESTORE.USAGE": set(),
    "$JS.API.STREAM.SNAPSHOT.USAGE": set(),
    "$JS.API.STREAM.DELETE.USAGE": set(),
    "$JS.API.STREAM.PURGE.USAGE": set(),
    "$JS.API.STREAM.MSG.DELETE.USAGE": set(),
    "$JS.API.CONSUMER.CREATE.USAGE.spy": set(),
    "$JS.API.CONSUMER.CREATE.USAGE.ledger": {"ledger"},
    "$JS.API.CONSUMER.MSG.NEXT.USAGE.ledger": {"ledger"},
    "$JS.API.STREAM.LIST": set(),
    "event.key.created": {"ledger"},
    "hook.whe_1": {"ledger"},
    "$JS.API.STREAM.CREATE.EVENTS": {"ledger"},
    "$JS.API.STREAM.INFO.EVENTS": {"ledger"},
    "$JS.API.STREAM.UPDATE.EVENTS": set(),
    "$JS.API.STREAM.PURGE.EVENTS": set(),
    "$JS.API.STREAM.DELETE.EVENTS": set(),
    "$JS.API.STREAM.MSG.GET.EVENTS": set(),
    "$JS.API.STREAM.MSG.DELETE.EVENTS": set(),
    "$JS.API.CONSUMER.NAMES.EVENTS": {"ledger"},
    "$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.hook_whe_1": {"ledger"},
    "$JS.API.CONSUMER.DURABLE.CREATE.USAGE.hook_whe_1": set(),
    "$JS.API.CONSUMER.DELETE.EVENTS.hook_whe_1": {"ledger"},
    "$JS.API.CONSUMER.DELETE.USAGE.ledger": {"ledger"},
    "$JS.API.CONSUMER.MSG.NEXT.EVENTS.hook_whe_1": {"console"},
    "$JS.ACK.EVENTS.hook_whe_1.1.1.1.1.0": {"console"},
    "$JS.ACK.USAGE.ledger.1.1.1.1.0": {"ledger"},
    "$KV.thoughts.call_1": {"worker"},
    "$KV.items.a.s.b": {"worker"},
    "$JS.API.DIRECT.GET.KV_items": {"worker"},
    "$JS.API.STREAM.PURGE.KV_items": {"worker"},
    "$JS.API.STREAM.PURGE.KV_thoughts": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "anything.else": set(),
}
# Every other verb, too: who may ask it is written out by hand in tests/schemas/test_permissions.py.
PUBLISH |= {
    verb.subject: {role.value for role in verb.roles} for verb in EVERY_VERB if verb.subject not in PUBLISH
}
SUBSCRIBE = {
    ("pool.openai", ""): set(),
    ("pool.openai", "workers"): {"usage"},
    ("pool.openai", "others"): set(),
    ("pool.other", "workers"): {"usage"},
    ("pool.other", ""): set(),
    ("pool.>", ""): set(),
    # Not ("pool.>", "workers"): nats-server lets a role that may queue on `pool.*` in, and then either subscription gets
    # a job. It hears nothing that `pool.*` would not, since a pool's name is one token.
    ("worker.w1", ""): set(),
    ("worker.*", ""): set(),
    ("worker.OWN", ""): {"worker"},
    ("beat.>", ""): {"edge", "ledger"},
    ("edge.*", ""): {"edge"},
    ("usage.>", ""): set(),
    ("ledger.authorise", ""): set(),
    ("ledger.authorise", "ledger"): {"ledger"},
    ("_INBOX.e1.f.>", ""): set(),
    ("_INBOX.*.f.>", ""): set(),
    ("_INBOX.OWN.f.>", ""): {"edge"},
    ("_INBOX.edge.r.>", ""): set(),
    ("_INBOX.edge.r.e1.>", ""): set(),
    ("_INBOX.edge.r.OWN.>", ""): {"edge"},
    ("_INBOX.worker.r.>", ""): set(),
    ("_INBOX.worker.r.OWN.>", ""): {"worker"},
    ("_INBOX.ledger.r.>", ""): {"ledger"},
    ("_INBOX.command.r.>", ""): set(),
    ("_INBOX.command.r.OWN.>", ""): {"command"},
    ("_INBOX.usage.r.>", ""): {"usage"},
    ("_INBOX.console.r.>", ""): set(),
    ("_INBOX.console.r.OWN.>", ""): {"console"},
    (">", ""): set(),
    ("_INBOX.>", ""): set(),
    ("$JS.>", ""): set(),
}
# A subject that each subscription above would hear.
HEARD = {
    "pool.>": "pool.openai",
    "worker.*": "worker.w2",
    "_INBOX.*.f.>": "_INBOX.e2.f.x",
    "beat.>": "beat.openai.w1",
    "edge.*": "edge.e1",
    "usage.>": "usage.openai",
    ">": "worker.w9",
}


# What else a server without signed users lets a role do: it cannot tell one of a role from another.
LOOSE_PUBLISH = {"beat.openai.w1": {"worker"}, "edge.e1": {"edge"}}
LOOSE_SUBSCRIBE = {
    ("worker.w1", ""): {"worker"},
    ("worker.*", ""): {"worker"},
    ("_INBOX.e1.f.>", ""): {"edge"},
    ("_INBOX.*.f.>", ""): {"edge"},
    ("_INBOX.edge.r.e1.>", ""): {"edge"},
}


USERS = [*(role.value for role in Role), "worker.openai", "usage.openai"]


def may(user: str, subject: str, roles: set[str]) -> bool:
    """Whether the table lets a user; one of one pool may what its role may, but for what is of another pool."""
    role, _, pool = user.partition(".")
    return role in roles and not (pool and ".other" in subject)


@pytest.fixture(scope="module", params=[True, False], ids=["signed", "passwords"])
def server(request):
    """A nats-server with tokn's roles."""
    with NatsServer(signed=request.param) as running:
        yield running


async def quiet(_: Exception) -> None:
    """Refusals are judged by what arrives."""


async def settled(client: nats.aio.client.Client) -> None:
    """Waits until the server has read what was written. nats-py's PING overtakes what it buffers, so the second one counts."""
    await client.flush()
    await client.flush()


@contextlib.asynccontextmanager
async def connection(server: NatsServer, name: str):
    """A bare client of one role, or of the server's admin, and its id."""
    client, own = await server.client(name, error_cb=quiet, inbox_prefix="_INBOX.x")
    try:
        yield client, own
    finally:
        await client.close()


@pytest.mark.parametrize("role", USERS)
async def test_what_a_role_may_say(server, role):
    """Of every kind of subject, exactly what the table names arrives; everything else is dropped by the server."""
    arrived: set[str] = set()
    allowed = PUBLISH if server.signed else PUBLISH | LOOSE_PUBLISH

    async def hear(message):
        arrived.add(message.subject.replace(own, "OWN"))

    async with connection(server, "admin") as (admin, _), connection(server, role) as (client, own):
        await admin.subscribe(">", cb=hear)
        await settled(admin)
        for subject in PUBLISH:
            await client.publish(subject.replace("OWN", own), b"x")
            await settled(client)
        await admin.publish("the.end", b"")
        while "the.end" not in arrived:
            await asyncio.sleep(0.01)
    assert arrived & PUBLISH.keys() == {
        subject for subject, roles in allowed.items() if may(role, subject, roles)
    }


@pytest.mark.parametrize("role", USERS)
async def test_what_a_role_may_hear(server, role):
    """Of every kind of subscription, exactly what the table names hears anything."""
    allowed = SUBSCRIBE if server.signed else SUBSCRIBE | LOOSE_SUBSCRIBE
    expected = {pair for pair, roles in allowed.items() if may(role, pair[0], roles)}
    heard: set[tuple[str, str]] = set()
    async with connection(server, "admin") as (admin, _), connection(server, role) as (client, own):
        for pair in SUBSCRIBE:

            async def hear(_, pair=pair):
                heard.add(pair)

            await client.subscribe(pair[0].replace("OWN", own), queue=pair[1], cb=hear)
        await settled(client)
        for subject in {HEARD.get(subject, subject.replace(".>", ".x")) for subject, _ in SUBSCRIBE}:
            await admin.publish(subject.replace("OWN", own), b"x")
        await settled(admin)
        await settled(client)
        await until(lambda: heard >= expected, 20, f"{role} hears what it may")
        await settled(client)
    assert heard == expected


@pytest.mark.parametrize(
    ("user", "password"), [("", ""), ("edge", "worker-password"), ("nobody", "edge-password"), ("admin", "")]
)
async def test_a_stranger_is_refused(server, user, password):
    """Nobody connects without a password, or with another role's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(b"CONNECT " + json.dumps({"user": user, "pass": password}).encode() + b"\r\nPING\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b"Authorization Violation" in answer
    assert b"PONG" not in answer
    writer.close()
