import asyncio
import time

import pytest
from nats.errors import MaxPayloadError

from runtime.bus.bus import (
    Bus,
    BusDenied,
    BusDown,
    BusFull,
    BusRejected,
    BusTimeout,
    Message,
    NoResponders,
    PayloadTooLarge,
)
from runtime.bus.client import HEADROOM_BYTES
from runtime.bus.connection import PENDING_BYTES_MAX, PING_INTERVAL_S, PINGS_MAX
from runtime.settings.settings import NatsSettings, SettingsError
from schemas.bus.subjects import LEDGER_QUEUE, Role, new_id
from tests.fakes.ticks import Ticks

FRAMES = "_INBOX.e1.f.>"
FRAME = "_INBOX.e1.f.call.1"


async def until(condition, within_s: float = 60.0):
    """Waits for a condition, asked every 5 ms."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


async def publish_until_full(bus: Bus) -> None:
    """Publishes until it is refused."""
    while True:
        bus.publish("ledger.ping", bytes(256 * 1024))
        await asyncio.sleep(0)


async def echo(bus: Bus) -> None:
    """A ledger that answers with what it was asked."""
    await bus.subscribe("ledger.*", lambda message: bus.publish(message.reply, message.data), LEDGER_QUEUE)


async def test_messages_arrive_whole_and_in_order(connect):
    """What is published arrives once, whole and in order, whatever its size up to the maximum."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    got: list[Message] = []
    await edge.subscribe(FRAMES, got.append)
    sizes = [0, 1, 300, 65_535, 65_536, 262_144, worker.payload_max_bytes]
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    for data in sent:
        worker.publish(FRAME, data, "worker.w1")
    await until(lambda: len(got) == len(sent))
    assert [message.data for message in got] == sent
    assert {(message.subject, message.reply, message.no_responders) for message in got} == {
        (FRAME, "worker.w1", False)
    }


async def test_request_is_answered(connect):
    """Requests in parallel each get their own answer."""
    edge = await connect(Role.EDGE)
    await echo(await connect(Role.LEDGER))
    asked = [str(number).encode() for number in range(200)]
    assert await asyncio.gather(*(edge.request("ledger.ping", data, 10) for data in asked)) == asked
    assert not edge._waiting


async def test_no_responders_is_an_error_of_a_request(connect):
    """A request that nobody listens to fails at once, not after its timeout."""
    edge = await connect(Role.EDGE)
    waited = Ticks()
    with pytest.raises(NoResponders):
        await edge.request("ledger.ping", b"", 5)
    assert waited.s < 0.5


async def test_no_responders_is_a_message_on_the_reply_subject(connect):
    """A plain publish that nobody hears comes back as an empty message with status 503."""
    edge = await connect(Role.EDGE)
    got: list[Message] = []
    await edge.subscribe(FRAMES, got.append)
    edge.publish("pool.nobody", b"job", FRAME)
    await until(lambda: got)
    assert (got[0].subject, got[0].no_responders, got[0].status, got[0].data) == (FRAME, True, 503, b"")


async def test_request_times_out_and_leaves_nothing(connect):
    """A request without an answer ends at its deadline; neither its future nor its late answer stays."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    asked: list[Message] = []
    await book.subscribe("ledger.*", asked.append, LEDGER_QUEUE)
    tasks = len(asyncio.all_tasks())
    with pytest.raises(BusTimeout):
        await edge.request("ledger.ping", b"", 0.1)
    assert not edge._waiting
    book.publish(asked[0].reply, b"late")
    await book.flush(2)
    await edge.flush(2)
    assert edge.handler_errors == 0
    assert len(asyncio.all_tasks()) == tasks


async def test_cancelled_request_ends_at_once(connect):
    """E2: a cancel is never swallowed: the task ends, and nothing of it stays."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    await book.subscribe("ledger.*", lambda _message: None, LEDGER_QUEUE)
    task = asyncio.create_task(edge.request("ledger.ping", b"", 30))
    await until(lambda: edge._waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not edge._waiting


async def test_publish_of_the_library_cannot_swallow_a_cancel(server, connect):
    """E2: even through nats-py's own publish, with the server frozen and the buffer full, nothing waits."""
    edge = await connect(Role.EDGE)
    server.pause()
    try:
        sent = 0

        async def publish_for_ever() -> None:
            nonlocal sent
            while True:
                await edge.client.publish("ledger.ping", bytes(100_000))
                sent += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(publish_for_ever())
        await until(lambda: sent > 200)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        server.resume()


async def test_backed_up_connection_refuses_to_buffer_more(server, connect):
    """With a server that reads nothing, publishing ends with BusFull at the bound; room() reports the way back."""
    edge = await connect(Role.EDGE)
    server.pause()
    try:
        backed_up = False
        while not backed_up:  # the sockets on the way take a few megabytes first, more with an engine between
            with pytest.raises(BusFull):
                await publish_until_full(edge)
            assert edge.client.pending_data_size < PENDING_BYTES_MAX + 2 * 256 * 1024
            try:
                await edge.room(0.1)
            except BusTimeout:
                backed_up = True
    finally:
        server.resume()
    await edge.room(5)
    edge.publish("ledger.ping", b"")


async def test_payload_beyond_the_limit_is_refused_and_the_connection_lives(connect):
    """E1: what would make the server close the connection is refused before it is sent."""
    edge = await connect(Role.EDGE)
    with pytest.raises(PayloadTooLarge):
        edge.publish("ledger.ping", bytes(edge.payload_max_bytes + 1))
    with pytest.raises(PayloadTooLarge):
        await edge.request("ledger.ping", bytes(edge.payload_max_bytes + 1), 1)
    assert not edge._waiting
    await edge.flush(2)
    assert edge.reconnects == 0


async def test_headers_count_against_the_limit(connect):
    """E1: payload within the limit and headers beyond it are refused on the library's own path too."""
    usage = await connect(Role.USAGE)
    largest = usage.client.max_payload
    with pytest.raises(MaxPayloadError):
        await usage.client.publish("usage.p", bytes(largest - 10), headers={"Nats-Msg-Id": "x" * 30})
    with pytest.raises(PayloadTooLarge):
        await usage.js_publish("usage.p", bytes(largest - HEADROOM_BYTES + 1), "id", 1)
    await usage.flush(2)
    assert usage.reconnects == 0


async def test_server_error_reconnects_instead_of_closing(server, connect):
    """E1: an error line of the server, which closes nats-py's own client for good, costs one reconnect."""
    edge = await connect(Role.EDGE)
    edge.client.enqueue(b"PUB ledger.ping 2000000\r\n", bytes(2_000_000), b"\r\n")
    await until(lambda: edge.reconnects == 1)
    await edge.flush(2)
    assert not connect.closed


async def test_failing_callbacks_do_not_end_the_connection(connect, monkeypatch):
    """E3: whatever the callbacks of errors and reconnects do, messages go on."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    await echo(book)

    def fail() -> None:
        raise RuntimeError("a callback failed")

    edge.on_reconnect(fail)
    with pytest.raises(BusDenied):
        await edge.request("ledger.audit", b"", 2)
    edge.client._transport.abort()
    await until(lambda: edge.reconnects == 1)
    assert await edge.request("ledger.ping", b"x", 2) == b"x"
    assert edge.handler_errors == 1


async def test_failing_handler_ends_nothing(connect):
    """An exception in a handler is counted; the messages behind it, in the same bytes even, arrive."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    got: list[bytes] = []

    def handle(message: Message) -> None:
        if message.data == b"bad":
            raise ValueError("a bad message")
        got.append(message.data)

    await edge.subscribe(FRAMES, handle)
    for data in (b"1", b"bad", b"2", b"bad", b"3"):
        worker.publish(FRAME, data)
    await until(lambda: len(got) == 3)
    assert edge.handler_errors == 2
    assert edge.connected


async def test_frozen_server_is_noticed_within_seconds(server, connect):
    """E7: a server that is frozen is left after PING_INTERVAL_S * (PINGS_MAX + 1) at most, and requests fail then."""
    edge = await connect(Role.EDGE)
    server.pause()
    try:
        waited = Ticks()
        await until(lambda: not edge.connected, 10 * PING_INTERVAL_S * (PINGS_MAX + 2))
        assert waited.s < PING_INTERVAL_S * (PINGS_MAX + 1) + 0.5
        with pytest.raises(BusDown):
            edge.publish("ledger.ping", b"")
    finally:
        server.resume()
    await until(lambda: edge.connected)
    await edge.flush(2)


async def test_frozen_server_with_a_full_socket_is_left_too(server, connect):
    """E7: bytes that a frozen server never takes do not hold up the reconnect."""
    edge = await connect(Role.EDGE)
    server.pause()
    try:
        for _ in range(30):
            edge.publish("ledger.ping", bytes(256 * 1024))
            await asyncio.sleep(0)
        await until(lambda: not edge.connected, 10 * PING_INTERVAL_S * (PINGS_MAX + 2))
    finally:
        server.resume()
    await until(lambda: edge.connected)
    assert edge.client.pending_data_size < 1024


async def test_permission_violations_are_heard(connect):
    """E8: a forbidden publish is counted, a forbidden request or subscription is an error at once."""
    edge = await connect(Role.EDGE)
    edge.publish("usage.openai", b"forged")
    await until(lambda: edge.denied == 1)
    with pytest.raises(BusDenied):
        await edge.request("ledger.credit", b"", 5)
    with pytest.raises(BusDenied):
        await edge.subscribe("pool.>", lambda _message: None)
    assert edge.connected


async def test_publishing_while_disconnected_is_refused_and_never_sent_late(server, connect):
    """A publish while NATS is away raises BusDown; after the reconnect nothing of before arrives."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    got: list[Message] = []
    await edge.subscribe(FRAMES, got.append)
    server.kill()
    worker.publish(FRAME, b"into the dead socket")
    await until(lambda: not worker.connected and not edge.connected)
    with pytest.raises(BusDown):
        worker.publish(FRAME, b"refused")
    with pytest.raises(BusDown):
        await worker.request("ledger.ping", b"", 5)
    with pytest.raises(BusDown):
        await worker.flush(5)
    server.start()
    await until(lambda: worker.connected and edge.connected)
    worker.publish(FRAME, b"after")
    await until(lambda: got)
    assert [message.data for message in got] == [b"after"]


async def test_request_in_flight_fails_when_the_connection_is_lost(server, connect):
    """A request whose connection is lost fails at once with BusDown, not at its deadline."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    await book.subscribe("ledger.*", lambda _message: None, LEDGER_QUEUE)
    task = asyncio.create_task(edge.request("ledger.ping", b"", 30))
    await edge.flush(2)
    waited = Ticks()
    server.kill()
    with pytest.raises(BusDown):
        await task
    assert waited.s < 2
    server.start()


async def test_reconnects_for_ever_and_at_once(server, connect):
    """After each of five kills the connection is back within half a second of the server, subscriptions included."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    await echo(book)
    back: list[float] = []
    edge.on_reconnect(lambda: back.append(time.monotonic()))
    for number in range(1, 6):
        before = edge.connected_since
        await asyncio.to_thread(server.kill)
        await until(lambda: not edge.connected and not book.connected)
        await asyncio.to_thread(server.start)
        started = time.monotonic()
        await until(lambda number=number: len(back) == number and edge.connected and book.connected)
        assert back[-1] - started < 0.5
        assert edge.connected_since > before
        assert await edge.request("ledger.ping", b"x", 2) == b"x"
    assert not connect.closed


async def test_waits_for_a_server_that_is_not_there_yet(server):
    """A service may start before NATS: connecting takes as long as it takes, and can be cancelled."""
    server.kill()
    connecting = asyncio.create_task(
        Bus.connect(server.settings(Role.EDGE), Role.EDGE, name="early", on_closed=lambda: None)
    )
    await asyncio.sleep(0.3)
    assert not connecting.done()
    cancelled = asyncio.create_task(
        Bus.connect(server.settings(Role.EDGE), Role.EDGE, name="gone", on_closed=lambda: None)
    )
    await asyncio.sleep(0.1)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await asyncio.to_thread(server.start)
    bus = await asyncio.wait_for(connecting, 5)
    assert bus.connected
    await bus.close()


@pytest.mark.parametrize(
    "passwords", [{"edge": "wrong"}, {"ledger": "ledger-password"}], ids=["wrong", "missing"]
)
async def test_refused_credentials_are_a_configuration_error(server, passwords):
    """A wrong or missing password is a SettingsError at once, not an endless wait."""
    settings = NatsSettings(url=server.url, passwords=passwords)
    with pytest.raises(SettingsError, match="credentials"):
        await asyncio.wait_for(
            Bus.connect(settings, Role.EDGE, name="test", on_closed=lambda: None), timeout=5
        )


async def test_connection_closed_for_good_is_told(connect):
    """If the server withdraws the credentials, on_closed is called once, so that the process can end."""
    edge = await connect(Role.EDGE)
    edge.client.on_control(b"-ERR 'Authorization Violation'")
    await until(lambda: connect.closed)
    assert connect.closed == [Role.EDGE]
    assert not edge.connected


async def test_closing_is_not_a_failure(connect):
    """A wanted close does not call on_closed, ends waiting requests and leaves no task."""
    before = len(asyncio.all_tasks())
    edge = await connect(Role.EDGE)
    await edge.close()
    assert not connect.closed
    with pytest.raises(BusDown):
        edge.publish("ledger.ping", b"")
    await until(lambda: len(asyncio.all_tasks()) == before)


async def test_unsubscribed_handler_hears_nothing(connect):
    """After unsubscribe no message reaches the handler, after a reconnect neither."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    got: list[Message] = []
    subscription = await edge.subscribe(FRAMES, got.append)
    await subscription.unsubscribe()
    edge.client._transport.abort()
    await until(lambda: edge.reconnects == 1)
    worker.publish(FRAME, b"x")
    await worker.flush(2)
    await edge.flush(2)
    assert not got


async def test_queue_group_gives_each_message_to_one(connect):
    """Of two ledgers in the queue group each request reaches exactly one."""
    edge, one, two = await connect(Role.EDGE), await connect(Role.LEDGER), await connect(Role.LEDGER)
    await echo(one)
    await echo(two)
    answers = await asyncio.gather(*(edge.request("ledger.ping", b"%d" % n, 2) for n in range(100)))
    assert answers == [b"%d" % number for number in range(100)]


async def test_flush_follows_what_was_published_before_it(connect):
    """The library's PING overtakes pending commands; ours does not: after flush the server has read everything."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    got: list[Message] = []
    await edge.subscribe(FRAMES, got.append)
    for _ in range(500):
        worker.publish(FRAME, bytes(1_000))
    await worker.flush(5)
    await edge.flush(5)
    assert len(got) == 500


async def test_late_pong_after_a_flush_that_timed_out_is_harmless(server, connect):
    """A PONG for a flush that gave up does not end the read loop."""
    edge = await connect(Role.EDGE)
    server.pause()
    try:
        with pytest.raises(BusTimeout):
            await edge.flush(0.2)
    finally:
        server.resume()
    await edge.flush(5)
    assert edge.reconnects == 0


async def test_reply_to_a_stranger_is_ignored(connect):
    """A message on our reply prefix that answers no request changes nothing."""
    edge, book = await connect(Role.EDGE), await connect(Role.LEDGER)
    book.publish(f"{edge._waiting.inbox}ffff", b"forged")
    await book.flush(2)
    await edge.flush(2)
    assert edge.handler_errors == 0


async def test_bytes_of_another_protocol_cost_a_reconnect(connect):
    """Nonsense from the server is not an endless loop or a dead connection: it reconnects."""
    edge = await connect(Role.EDGE)
    edge.client._on_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await until(lambda: edge.reconnects == 1)
    await edge.flush(2)


async def test_jetstream_publish_without_a_stream_is_no_responders(connect):
    """A durable publish that no stream takes is an error."""
    usage = await connect(Role.USAGE)
    with pytest.raises(NoResponders):
        await usage.js_publish("usage.openai", b"event", "id-1", 2)


async def test_jetstream_publish_is_acked_once_per_id_over_restarts(server, connect):
    """E4, E9: an acked event survives kill -9 of the server; the same id again adds nothing, before or after."""
    book, usage = await connect(Role.LEDGER), await connect(Role.USAGE)
    streams = book.client.jetstream()
    await streams.add_stream(name="USAGE", subjects=["usage.*"], max_msg_size=100_000)
    run = new_id()
    before = (await streams.stream_info("USAGE")).state.messages
    for number in range(20):
        await usage.js_publish("usage.openai", b"event", f"{run}-{number}", 5)
        await usage.js_publish("usage.openai", b"event", f"{run}-{number}", 5)
    with pytest.raises(BusRejected):
        await usage.js_publish("usage.openai", bytes(200_000), "too-large", 5)
    await asyncio.to_thread(server.kill)
    await until(lambda: not usage.connected and not book.connected)
    with pytest.raises(BusDown):
        await usage.js_publish("usage.openai", b"event", f"{run}-20", 5)
    await asyncio.to_thread(server.start)
    await until(lambda: usage.connected and book.connected)
    await usage.js_publish("usage.openai", b"event", f"{run}-19", 5)
    await usage.js_publish("usage.openai", b"event", f"{run}-20", 5)
    assert (await streams.stream_info("USAGE")).state.messages == before + 21


async def test_pull_consumer_of_the_library_works_on_the_same_connection(server, connect):
    """The ledger's JetStream management and pulls through nats-py run beside our direct subscriptions."""
    book, usage = await connect(Role.LEDGER), await connect(Role.USAGE)
    streams = book.client.jetstream()
    await streams.add_stream(name="USAGE", subjects=["usage.*"], max_msg_size=100_000)
    run = new_id()
    for number in range(70):
        await usage.js_publish("usage.gemini", b"event", f"{run}-{number}", 5)
    pull = await streams.pull_subscribe("usage.>", durable="ledger", stream="USAGE")
    got = 0
    while got < 70:
        for message in await pull.fetch(50, timeout=2):
            if message.subject == "usage.gemini":
                got += 1
            await message.ack_sync(timeout=2)
    assert book.handler_errors == 0


async def test_dropped_messages_of_a_library_subscription_are_counted(server, connect):
    """A subscription of nats-py that is full drops messages: that is counted and logged, never silent."""
    edge, worker = await connect(Role.EDGE), await connect(Role.WORKER)
    await edge.client.subscribe("_INBOX.e1.f.>", pending_msgs_limit=2)
    await edge.flush(2)
    for _ in range(5):
        worker.publish(FRAME, b"x")
    await worker.flush(2)
    await until(lambda: edge.dropped == 3)
    assert edge.connected


async def test_roles_may_do_no_more_than_their_part(server, connect):
    """An edge cannot write bills, a worker cannot answer for the ledger, a command cannot publish jobs."""
    streams = (await connect(Role.LEDGER)).client.jetstream()
    await streams.add_stream(name="USAGE", subjects=["usage.*"], max_msg_size=100_000)
    before = (await streams.stream_info("USAGE")).state.last_seq
    forbidden = {
        Role.EDGE: ["usage.openai", "ledger.credit", "_INBOX.worker.r.a.1", "$JS.API.STREAM.DELETE.USAGE"],
        Role.WORKER: ["usage.openai", "ledger.authorise", "_INBOX.edge.r.a.1", "pool.openai"],
        Role.USAGE: ["_INBOX.e1.f.call.1", "beat.openai.w1", "ledger.renew"],
        Role.LEDGER: ["pool.openai", "_INBOX.e1.f.call.1", "worker.w1", "$JS.API.STREAM.PURGE.USAGE"],
        Role.COMMAND: ["pool.openai", "ledger.authorise", "usage.openai", "worker.w1"],
    }
    for role, subjects in forbidden.items():
        bus = await connect(role)
        for subject in subjects:
            bus.publish(subject, b"")
        await until(lambda bus=bus, subjects=subjects: bus.denied == len(subjects))
    assert (await streams.stream_info("USAGE")).state.last_seq == before


async def test_leaving_a_queue_group_hands_over_what_is_on_its_way(connect):
    """A worker that leaves its queue group still gets the jobs that the server has already sent it, and no later ones."""
    edge, worker = await connect(Role.EDGE), await connect(Role.USAGE)
    got: list[bytes] = []
    subscription = await worker.subscribe("pool.p", lambda message: got.append(message.data), "workers")
    for number in range(100):
        edge.publish("pool.p", b"%d" % number, FRAME)
    await edge.flush(2)
    await subscription.leave()
    assert len(got) == 100
    lost: list[Message] = []
    await edge.subscribe(FRAMES, lost.append)
    edge.publish("pool.p", b"late", FRAME)
    await until(lambda: lost)
    assert lost[0].no_responders
    assert len(got) == 100
