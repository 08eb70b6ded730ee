"""Owns the matrix of roles over a real bus: what each may say and hear, by what arrives and not by what is raised."""

import asyncio
import contextlib
import json

import nats
import pytest

from runtime.settings.settings import NatsSettings
from schemas.bus.subjects import Role
from tests.fakes.caller import until
from tests.fakes.nats import NatsServer

pytestmark = pytest.mark.system

# Written out by hand, so that a change of the permissions is noticed here.
PUBLISH = {
    "pool.openai": {"edge"},
    "worker.w1": {"edge"},
    "beat.openai.w1": {"worker"},
    "edge.e1": {"edge"},
    "usage.openai": {"usage"},
    "_INBOX.e1.f.c1.1": {"worker"},
    "_INBOX.edge.r.x": {"ledger"},
    "_INBOX.worker.r.x": {"ledger"},
    "_INBOX.ledger.r.x": {"ledger"},
    "_INBOX.command.r.x": {"ledger"},
    "_INBOX.usage.r.x": {"ledger"},
    "ledger.ping": {"edge", "worker", "command"},
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
    "ledger.usage": {"command"},
    "ledger.audit": {"command"},
    "ledger.no_such_verb": set(),
    "$JS.API.STREAM.CREATE.USAGE": {"ledger"},
    "$JS.API.STREAM.DELETE.USAGE": set(),
    "$JS.API.STREAM.PURGE.USAGE": set(),
    "$JS.API.STREAM.MSG.DELETE.USAGE": set(),
    "$JS.API.CONSUMER.CREATE.USAGE.spy": set(),
    "$JS.API.CONSUMER.CREATE.USAGE.ledger": {"ledger"},
    "$JS.API.CONSUMER.MSG.NEXT.USAGE.ledger": {"ledger"},
    "$JS.API.STREAM.LIST": set(),
    "$KV.thoughts.call_1": {"worker"},
    "$KV.items.a.s.b": {"worker"},
    "$JS.API.DIRECT.GET.KV_items": {"worker"},
    "$JS.API.STREAM.PURGE.KV_items": {"worker"},
    "$JS.API.STREAM.PURGE.KV_thoughts": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "anything.else": set(),
}
SUBSCRIBE = {
    ("pool.openai", ""): set(),
    ("pool.openai", "workers"): {"worker"},
    ("pool.>", ""): set(),
    # Not ("pool.>", "workers"): nats-server lets a role that may queue on `pool.*` in, and then either subscription gets
    # a job. It hears nothing that `pool.*` would not, since a pool's name is one token.
    ("worker.w1", ""): {"worker"},
    ("beat.>", ""): {"edge", "ledger"},
    ("edge.*", ""): {"edge"},
    ("usage.>", ""): set(),
    ("ledger.authorise", ""): set(),
    ("ledger.authorise", "ledger"): {"ledger"},
    ("_INBOX.e1.f.>", ""): {"edge"},
    ("_INBOX.edge.r.>", ""): {"edge"},
    ("_INBOX.worker.r.>", ""): {"worker"},
    ("_INBOX.ledger.r.>", ""): {"ledger"},
    ("_INBOX.command.r.>", ""): {"command"},
    ("_INBOX.usage.r.>", ""): {"usage"},
    (">", ""): set(),
    ("_INBOX.>", ""): set(),
    ("$JS.>", ""): set(),
}
# A subject that each subscription above would hear.
HEARD = {
    "pool.>": "pool.openai",
    "beat.>": "beat.openai.w1",
    "edge.*": "edge.e1",
    "usage.>": "usage.openai",
    ">": "worker.w9",
}


@pytest.fixture(scope="module")
def server():
    """A nats-server with tokn's roles."""
    with NatsServer() as running:
        yield running


async def quiet(_: Exception) -> None:
    """Refusals are judged by what arrives."""


async def settled(client: nats.aio.client.Client) -> None:
    """Waits until the server has read what was written. nats-py's PING overtakes what it buffers, so the second one counts."""
    await client.flush()
    await client.flush()


@contextlib.asynccontextmanager
async def connection(server: NatsServer, name: str):
    """A bare client of one role, or of the server's admin."""
    if name == "admin":
        client = await nats.connect(server.admin_url, error_cb=quiet)
    else:
        settings: NatsSettings = server.settings()
        client = await nats.connect(
            server.url, user=name, password=settings.passwords[name], error_cb=quiet, inbox_prefix="_INBOX.x"
        )
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("role", [role.value for role in Role])
async def test_what_a_role_may_say(server, role):
    """Of every kind of subject, exactly what the table names arrives; everything else is dropped by the server."""
    arrived: set[str] = set()

    async def hear(message):
        arrived.add(message.subject)

    async with connection(server, "admin") as admin, connection(server, role) as client:
        await admin.subscribe(">", cb=hear)
        await settled(admin)
        for subject in PUBLISH:
            await client.publish(subject, b"x")
            await settled(client)
        await admin.publish("the.end", b"")
        while "the.end" not in arrived:
            await asyncio.sleep(0.01)
    assert arrived & PUBLISH.keys() == {subject for subject, roles in PUBLISH.items() if role in roles}


@pytest.mark.parametrize("role", [role.value for role in Role])
async def test_what_a_role_may_hear(server, role):
    """Of every kind of subscription, exactly what the table names hears anything."""
    expected = {pair for pair, roles in SUBSCRIBE.items() if role in roles}
    heard: set[tuple[str, str]] = set()
    async with connection(server, "admin") as admin, connection(server, role) as client:
        for pair in SUBSCRIBE:

            async def hear(_, pair=pair):
                heard.add(pair)

            await client.subscribe(pair[0], queue=pair[1], cb=hear)
        await settled(client)
        for subject in {HEARD.get(subject, subject.replace(".>", ".x")) for subject, _ in SUBSCRIBE}:
            await admin.publish(subject, b"x")
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
