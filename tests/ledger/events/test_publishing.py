"""Publishing: events reach their stream in order and once, whatever is killed in between, and whoever commits late."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import nats
import pytest

from ledger.stream.events import LEASE_MS, Publishing
from runtime.bus.bus import Bus, BusError
from schemas.bus.subjects import EVENTS_STREAM, Role, hook_consumer
from schemas.events import Event, decode_event
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookUpdate
from schemas.webhooks import new_secret
from tests.fakes.nats import NatsServer
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock

URL = "https://example.com/"


@contextlib.asynccontextmanager
async def publishing(server: NatsServer, books: Books):
    """One ledger's errand, on a connection of its own."""
    bus = await Bus.connect(server.settings(), Role.LEDGER, name="t", on_closed=lambda: None)
    books.start()
    try:
        yield Publishing(bus, books.writer)
    finally:
        await bus.close()


async def stored(server: NatsServer) -> list[tuple[str, Event]]:
    """What the stream has, in its order: subjects and events."""
    client, _ = await server.client("admin")
    try:
        js = client.jetstream()
        info = await js.stream_info(EVENTS_STREAM)
        found = []
        for seq in range(info.state.first_seq, info.state.last_seq + 1):
            message: Any = await js.get_msg(EVENTS_STREAM, seq)
            found.append((message.subject, decode_event(message.data)))
    finally:
        await client.close()
    return found


async def names(server: NatsServer) -> dict[str, list[str]]:
    """The consumers of the stream, with what each hears."""
    client, _ = await server.client("admin")
    try:
        found = await client.jetstream().consumers_info(EVENTS_STREAM)
    finally:
        await client.close()
    return {
        one.name: sorted(one.config.filter_subjects or [one.config.filter_subject or ""]) for one in found
    }


@pytest.fixture(scope="module")
def _server():
    with NatsServer() as running:
        yield running


@pytest.fixture
async def server(_server: NatsServer):
    """A server without the stream EVENTS."""
    client, _ = await _server.client("admin")
    try:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await client.jetstream().delete_stream(EVENTS_STREAM)
    finally:
        await client.close()
    return _server


async def test_in_order_and_once(server: NatsServer, books: Books) -> None:
    """What was committed is in the stream in that order, by type, with its id; another round adds nothing."""
    key_id = await books.key(profile="acme")
    async with publishing(server, books) as made:
        assert await made.step() == 3
        assert await made.step() == 0
        await books.revoke(key_id)
        assert await made.step() == 1
    told = await books.events()
    found = await stored(server)
    assert [subject for subject, _ in found] == [f"event.{one['type']}" for one in told]
    assert [(event.id, event.organization) for _, event in found] == [(one["id"], "acme") for one in told]
    rows = await books.store.fetch("SELECT COUNT(*) FROM events WHERE NOT published")
    assert rows[0][0] == 0


async def test_killed_between_publish_and_mark(server: NatsServer, books: Books, monkeypatch) -> None:
    """A ledger that is gone once it has published, before it could say so: the next one doubles and loses nothing."""
    await books.key()
    async with publishing(server, books) as first:

        async def gone(_published: Any) -> None:
            raise ConnectionResetError

        monkeypatch.setattr(first, "_mark", gone)
        with pytest.raises(ConnectionResetError):
            await first.step()
    assert len(await stored(server)) == 3
    other = Books(books.store, books.clock)
    async with publishing(server, other) as second:
        assert await second.step() == 0
        books.clock.turn(LEASE_MS / 1000 + 1)
        assert await second.step() == 3
    found = await stored(server)
    assert [event.id for _, event in found] == [one["id"] for one in await books.events()]


async def test_one_ledger_at_a_time(server: NatsServer, books: Books) -> None:
    """While one ledger has the turn another publishes nothing; a turn that was not used for its time is over."""
    await books.key()
    other = Books(books.store, books.clock)
    async with publishing(server, books) as first, publishing(server, other) as second:
        assert await first.step() == 3
        await books.key("more")
        assert await second.step() == 0
        books.clock.turn(LEASE_MS / 1000 + 1)
        assert await second.step() == 2
        await books.key("again")
        assert await first.step() == 0


async def test_a_server_that_is_away(server: NatsServer, books: Books) -> None:
    """Commits go on while nothing can be published, and all of it is published afterwards."""
    async with publishing(server, books) as made:
        await made.step()
        server.kill()
        await books.key()
        with pytest.raises(BusError):
            await made.step()
        server.start()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BusError):
                    if await made.step():
                        break
                await asyncio.sleep(0.05)
    assert len(await stored(server)) == 3


async def test_consumers_follow_endpoints(server: NatsServer, books: Books) -> None:
    """Each enabled endpoint has one consumer for what it wants; one that is disabled or deleted has none."""
    async with publishing(server, books) as made:
        ids = []
        for events in (("*",), ("key.created", "cap.alert")):
            form = WebhookCreate(1, URL, new_secret(), events)
            ids.append(str((await books.act("webhook_create", form)).rows[0]["id"]))
        every, two = ids
        await made.step()
        assert await names(server) == {
            hook_consumer(every): ["event.>", f"hook.{every}"],
            hook_consumer(two): ["event.cap.alert", "event.key.created", f"hook.{two}"],
        }
        await books.act("webhook_update", WebhookUpdate(1, two, events=("cap.reached",)))
        await books.act("webhook_update", WebhookUpdate(1, every, status="disabled"))
        await made.step()
        assert await names(server) == {hook_consumer(two): ["event.cap.reached", f"hook.{two}"]}
        await books.act("webhook_update", WebhookUpdate(1, every, status="enabled"))
        await made.step()
        books.clock.turn(5)
        await books.act("webhook_update", WebhookUpdate(1, every, status="disabled"))
        await books.act("webhook_update", WebhookUpdate(1, every, status="enabled"))
        await books.act("webhook_delete", WebhookRef(1, two))
        await made.step()
        assert list(await names(server)) == [hook_consumer(every)]
        other = Books(books.store, books.clock)
        async with publishing(server, other) as second:
            await second.step()
        assert list(await names(server)) == [hook_consumer(every)]


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_transaction_that_stays_open(server: NatsServer, source: Source, clock: Clock) -> None:
    """A row that is numbered below others and committed rounds after them is published all the same, once."""
    books = await Books.open(await source.open(), clock)
    slow: Any = await asyncpg.connect(source.url.replace("+asyncpg", ""))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(books.close)
        stack.push_async_callback(slow.close)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "INSERT INTO events (id, type, organization, object, body, created_ms, endpoint, again, published) "
            "VALUES ('evt_slow', 'key.created', '', 'x', '{}', 1, '', false, false)"
        )
        made = await stack.enter_async_context(publishing(server, books))
        await books.key()
        assert await made.step() == 3
        for _ in range(3):
            assert await made.step() == 0
        await transaction.commit()
        assert await made.step() == 1
    assert [event.id for _, event in await stored(server)][-1] == "evt_slow"
