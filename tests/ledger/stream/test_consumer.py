"""The way from the stream into the books: what is pulled, when the books and the stream are compared, versions, stops."""

import asyncio
import contextlib
import importlib.util
import json
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.store.base import StoreDown
from ledger.stream import consumer as consumer_module
from ledger.stream import jetstream, positions
from ledger.stream.consumer import HELD_MAX, PULL_MESSAGES, Consumer
from runtime.bus.bus import Bus, BusTimeout, NoResponders
from runtime.bus.streams import ask
from schemas.bus import frames, subjects
from schemas.bus.subjects import Role
from schemas.bus.usage import VERSION, Known, Outcome, Try, UsageBatch, encode_batch
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.base import Done
from schemas.verbs.calls import Hold
from schemas.verbs.ping import PING, Ping
from tests.ledger.deployment import Deployment, admin, until
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=80, output=40)

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"])


async def info(bus: Bus, what: str) -> dict[str, Any]:
    """What JetStream says of the stream or the consumer."""
    return dict(json.loads(await ask(bus, what)))


CONSUMER_INFO = f"CONSUMER.INFO.{subjects.USAGE_STREAM}.{subjects.USAGE_CONSUMER}"


class Alone:
    """A consumer with its books and its connection, in the test's hands."""

    def __init__(self, bus: Bus, books: Books) -> None:
        self.bus = bus
        self.books = books
        self.consumer = Consumer(bus, books.start(), books.telemetry)


@contextlib.asynccontextmanager
async def alone(deployment: Deployment) -> AsyncIterator[Alone]:
    """Runs one on the deployment's database and server."""
    bus = await Bus.connect(deployment.server.settings(), Role.LEDGER, name="alone", on_closed=lambda: None)
    books = await Books.open(await deployment.source.again(), deployment.clock)
    made = Alone(bus, books)
    await made.consumer.start()
    tasks = [asyncio.create_task(work) for work in (made.consumer.run(), made.consumer.watch_forever())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()
    await books.close()


async def a_lock_is_waited_for(deployment: Deployment) -> None:
    """Waits until some ledger's transaction waits for another's."""

    async def waits() -> bool:
        rows = await deployment.store.fetch(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(rows)

    await until(waits, "one ledger waits for another")


async def test_the_books_are_never_ahead_of_the_stream_by_haste(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that are applied while the stream is being looked at do not make it look as if it had lost them."""
    async with alone(deployment) as one:
        key_id = await one.books.key(nano=50 * USD)
        real, number = jetstream.usage_stream, 0

        async def usage_stream(bus: Bus) -> jetstream.Stream:
            nonlocal number
            seen = await real(bus)
            number += 1
            name = f"r{number}"
            await one.books.hold(name)
            await deployment.publish(name, event(name, SMALL))

            async def applied() -> bool:
                return await deployment.applied() == number

            # By another ledger it could be, at any moment; here by the writer that this watch stands beside.
            await until(applied, "the event is applied")
            return seen

        monkeypatch.setattr(jetstream, "usage_stream", usage_stream)
        for _ in range(5):
            await one.consumer.watch()
        monkeypatch.setattr(jetstream, "usage_stream", real)
        proof = await one.books.check()
        assert (proof["streams_lost"], proof["applied_seq"]) == (0, number)
        assert await one.books.balance(key_id) == (50 * USD - number * billed(SMALL), 0)


async def test_pulls_do_not_pile_up(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the connection is cut, one pull is open soon after, and no more is held than the bound."""
    monkeypatch.setattr(consumer_module, "PULL_EXPIRES_S", 1.0)
    async with alone(deployment) as one, admin(deployment) as bus:
        for _ in range(8):
            before = one.bus.connected_since
            one.bus.client._transport.abort()

            async def back(before: float = before) -> bool:
                return one.bus.connected and one.bus.connected_since > before

            await until(back, "it is connected again")

        async def one_pull() -> bool:
            return (await info(bus, CONSUMER_INFO))["num_waiting"] == 1

        await until(one_pull, "only the newest pull is open")
        for _ in range(30):  # over the end of more than one pull
            assert (await info(bus, CONSUMER_INFO))["num_waiting"] <= 1
            await asyncio.sleep(0.05)
        commit = one.books.committer._commit
        away = True

        async def fails(commands: Any, deliveries: Any) -> Any:
            if away:
                raise StoreDown("away")
            return await commit(commands, deliveries)

        one.books.committer._commit = fails
        count = 3 * HELD_MAX
        await asyncio.gather(*(deployment.publish(f"m{at}", event(f"x{at}", SMALL)) for at in range(count)))

        async def held() -> bool:
            return one.consumer._held >= HELD_MAX - PULL_MESSAGES

        await until(held, "what it may hold is here")
        assert (await info(bus, CONSUMER_INFO))["num_ack_pending"] <= HELD_MAX
        away = False

        async def applied() -> bool:
            return await deployment.applied() == count

        await until(applied, "all is applied")


async def test_large_messages_pass(deployment: Deployment) -> None:
    """Messages near the largest that the bus takes wait in the stream: they come through at once, on one connection."""
    count = 40
    big = tuple(
        Try(
            account="main",
            upstream="x" * 1_000,
            outcome=Outcome.FAILED,
            status=500,
            known=Known.REPORTED,
            usage=NO_USAGE,
        )
        for _ in range(850)
    )
    async with alone(deployment) as one:
        key_id = await one.books.key(nano=50 * USD)
        for number in range(count):
            await one.books.hold(f"r{number}")
    size = len(encode_batch(UsageBatch(VERSION, (event("r0", SMALL, tries=big),))))
    assert 850_000 < size < 1024 * 1024
    for number in range(count):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL, tries=big))
    async with alone(deployment) as one:
        since = one.bus.connected_since

        async def applied() -> bool:
            return await deployment.applied() == count

        await until(applied, "all is applied")
        assert one.bus.connected_since == since
        assert await one.books.balance(key_id) == (50 * USD - count * billed(SMALL), 0)


async def test_the_next_version_waits_for_the_next_ledger(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of the version that comes next is neither parked nor passed over: an upgraded ledger bills it."""
    monkeypatch.setattr(jetstream, "LATER", b'-NAK {"delay": 200000000}')
    await deployment.start()
    key_id = await deployment.key()
    assert isinstance(await deployment.authorise("r1"), Hold)
    assert isinstance(await deployment.authorise("r2"), Hold)
    newer = encode_batch(UsageBatch(VERSION + 1, (event("r1", SMALL),)))
    await deployment.buses[Role.USAGE].js_publish(subjects.usage("openai"), newer, "m1", 5.0)
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    deployment.clock.turn(60)  # the lease is over, but its event is still to come
    proof = await deployment.audit()
    assert (proof["ok"], proof["parked"], proof["open_holds"], proof["applied_seq"]) == (True, 0, 1, 0)
    monkeypatch.setattr(consumer_module, "VERSION", VERSION + 1)
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))

    async def whole() -> bool:
        return await deployment.applied() == 2

    await until(whole, "the position has passed it")


def test_batches_are_judged_by_their_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of the frames changes nothing for usage batches: this one's are read, the next one's wait."""
    monkeypatch.setattr(frames, "VERSION", frames.VERSION + 1)
    spec = importlib.util.find_spec(consumer_module.__name__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)

    def judge(version: int) -> Any:
        return fresh._delivery("stream", 1, encode_batch(UsageBatch(version, (event("r1", SMALL),))))

    read, newest = judge(VERSION), judge(VERSION + 2)
    assert (read.problem, read.events) == ("", (event("r1", SMALL),))
    assert judge(VERSION + 1) is None
    assert (newest.problem, newest.events) == (f"version {VERSION + 2} is not known", ())


async def test_a_stream_that_aged_out_unread(deployment: Deployment) -> None:
    """All events are gone before they were applied, and none follows: the books pass them over, and their holds expire."""
    await deployment.start()
    key_id = await deployment.key()
    for number in range(4):
        await deployment.authorise(f"r{number}")
    await deployment.publish("m0", event("r0", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    for number in range(1, 4):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    name = f"STREAM.UPDATE.{subjects.USAGE_STREAM}"
    async with admin(deployment) as bus:
        kept = (await info(bus, f"STREAM.INFO.{subjects.USAGE_STREAM}"))["config"]
        # The server looks at ages when a message comes, and by a timer. A ledger may not do this itself.
        client, _ = await deployment.server.client("admin")
        shorter = kept | {"max_age": 100_000_000, "duplicate_window": 100_000_000}
        await client.request(f"{subjects.JETSTREAM_API}.{name}", json.dumps(shorter).encode())
        await client.close()

        async def empty() -> bool:
            return (await jetstream.usage_stream(bus)).state.messages == 0

        await until(empty, "the stream is empty")
    await deployment.start()
    deployment.clock.turn(31)

    async def expired() -> bool:
        return (await deployment.audit())["open_holds"] == 0

    await until(expired, "the holds expire")
    proof = await deployment.audit()
    assert (proof["ok"], proof["expired"], proof["applied_seq"]) == (True, 3, 4)


async def test_acknowledgements_that_are_stuck(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that the books have, that is not acknowledged and never comes again: it is had again, and holds can end."""
    monkeypatch.setitem(jetstream._CONSUMER, "ack_wait", 3_600 * 10**9)
    monkeypatch.setattr(consumer_module, "FLOOR_STILL_MAX_S", 1.5)
    real = Consumer._answer
    lost = 0

    def answer(consumer: Consumer, reply: str, word: bytes) -> None:
        nonlocal lost
        if lost == 0:
            lost = 1
        else:
            real(consumer, reply, word)

    monkeypatch.setattr(Consumer, "_answer", answer)
    await deployment.start()
    key_id = await deployment.key()
    for name in ("r1", "r2", "open"):
        await deployment.authorise(name)
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))
    assert lost == 1
    deployment.clock.turn(31)

    async def ended() -> bool:
        return (await deployment.audit())["open_holds"] == 0

    await until(ended, "the hold ends")
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["expired"]) == (True, 3, 1)
    assert await deployment.posted(key_id) == 50 * USD - 2 * billed(SMALL)


async def test_a_stream_with_many_gaps(deployment: Deployment) -> None:
    """A damaged stream lacks messages in many places: all gaps are passed over at once, not one a second, and calls expire."""
    count = 60
    await deployment.start()
    key_id = await deployment.key(nano=1000 * USD)
    for number in range(count):
        await deployment.authorise(f"r{number}")
    await deployment.stop()
    # The same stream, but for the right to take messages out of it; a ledger that starts takes that away again.
    client, _ = await deployment.server.client("admin")
    stream = client.jetstream()
    kept = (await stream.stream_info(subjects.USAGE_STREAM)).config
    await stream.delete_stream(subjects.USAGE_STREAM)
    await stream.add_stream(kept, deny_delete=False)
    for number in range(count):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    for sequence in range(1, count + 1, 2):
        assert await stream.delete_msg(subjects.USAGE_STREAM, sequence)
    await client.close()
    await deployment.start()

    async def whole() -> bool:
        return await deployment.applied() == count

    await until(whole, "the books have passed all gaps", 10)
    deployment.clock.turn(31)

    async def ended() -> bool:
        return (await deployment.audit())["open_holds"] == 0

    await until(ended, "the lost ones expire")
    assert await deployment.posted(key_id) == 1000 * USD - count // 2 * billed(SMALL)
    proof = await deployment.audit()
    assert (proof["ok"], proof["expired"]) == (True, count // 2)


async def test_a_backup_that_is_restored_twice(deployment: Deployment) -> None:
    """A stream that goes back, and goes back once more, is another one each time, and everything is billed once."""
    await deployment.start()
    key_id = await deployment.key(nano=1000 * USD)
    names = iter(f"r{number}" for number in range(1000))
    calls = 0

    async def paid(count: int) -> None:
        nonlocal calls
        for _ in range(count):
            name = next(names)
            assert isinstance(await deployment.authorise(name), Hold)
            await deployment.publish(f"m-{name}", event(name, SMALL))
        calls += count
        await deployment.settled(key_id, 1000 * USD - calls * billed(SMALL))

    await paid(10)
    backup = deployment.server.folder / "backup"
    deployment.server.stop()
    shutil.copytree(deployment.server.store, backup)
    deployment.server.start()
    for turn in (1, 2):
        await until(deployment.answers, "a ledger answers")
        await paid(10)
        deployment.server.stop()
        shutil.rmtree(deployment.server.store)
        shutil.copytree(backup, deployment.server.store)
        deployment.server.start()

        async def noticed(turn: int = turn) -> bool:
            return await deployment.answers() and (await deployment.audit())["streams_lost"] == turn

        await until(noticed, "the stream is another one")
    await paid(5)

    async def all_applied() -> bool:
        return await deployment.applied() == 15

    await until(all_applied, "the position of the last stream")
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["streams_lost"]) == (True, calls, 2)


@on_postgresql
async def test_two_ledgers_adopt_one_stream(deployment: Deployment) -> None:
    """Both notice at once that the stream was lost: they go on with the same one, under one name."""
    await deployment.start()
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    deployment.server.kill()
    shutil.rmtree(deployment.server.store)
    deployment.server.start()

    async def noticed() -> bool:
        return await deployment.answers() and (await deployment.audit())["streams_lost"] == 1

    await until(noticed, "the stream was lost")
    for number in range(2, 12):
        await deployment.authorise(f"r{number}")
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    await deployment.settled(key_id, 50 * USD - 11 * billed(SMALL))
    rows = await deployment.store.fetch("SELECT identity FROM stream_positions WHERE current")
    assert len(rows) == 1
    assert (await deployment.audit())["streams_lost"] == 1


@on_postgresql
async def test_a_lost_stream_is_adopted_once(deployment: Deployment) -> None:
    """Two ledgers notice in one moment that the stream is another: whoever waited goes on with what the first adopted."""
    stores = [await deployment.source.again() for _ in range(2)]
    first, second = [await Books.open(store, deployment.clock) for store in stores]
    old, new = [
        jetstream.Stream(name, jetstream.StreamState(), jetstream._Settings()) for name in ("old", "new")
    ]
    was = await positions.adopt(first.store, None, old)
    writer = second.start()
    async with first.store.write() as tx:
        await tx.fetch(f"SELECT identity FROM stream_positions WHERE current{tx.locked}")
        adopting = asyncio.create_task(writer.between(lambda: positions.adopt(second.store, was, new)))
        await a_lock_is_waited_for(deployment)
        await tx.execute("UPDATE stream_positions SET current = $1", False)
        await tx.execute(
            "INSERT INTO stream_positions (identity, applied_seq, current, opened_ms, detail) VALUES ($1, 0, $2, 0, '')",
            new.created,
            True,
        )
    assert await adopting == positions.Position("new", 0)
    await first.close()
    await second.close()


async def test_a_consumer_of_an_earlier_version(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger brings the consumer that it finds up to date, where it was."""
    monkeypatch.setitem(jetstream._CONSUMER, "ack_wait", 30 * 10**9)
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    monkeypatch.undo()
    await deployment.start()
    async with admin(deployment) as bus:
        now = await info(bus, CONSUMER_INFO)
        assert now["config"]["ack_wait"] == jetstream.ACK_WAIT_S * 10**9
        assert now["ack_floor"]["stream_seq"] == 1


async def test_a_consumer_that_was_deleted(deployment: Deployment) -> None:
    """It is made anew; what it brings again counts once, and what is new is billed."""
    await deployment.start()
    key_id = await deployment.key()
    for number in range(5):
        await deployment.authorise(f"r{number}")
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    await deployment.settled(key_id, 50 * USD - 5 * billed(SMALL))
    async with admin(deployment) as bus:
        await ask(bus, CONSUMER_INFO.replace("INFO", "DELETE"))
        await deployment.authorise("r5")
        await deployment.publish("m5", event("r5", SMALL))
        await deployment.settled(key_id, 50 * USD - 6 * billed(SMALL))

        async def read() -> bool:
            return bool((await info(bus, CONSUMER_INFO))["ack_floor"]["stream_seq"] == 6)

        await until(read, "the stream is read to its end")
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["parked"]) == (True, 6, 0)


async def test_a_stream_that_went_back_without_its_consumer(deployment: Deployment) -> None:
    """A stream restored from a backup grows beyond where the books were while no ledger runs, and has lost its consumer.

    Its new events stand where others had been applied: all of them are billed.
    """
    await deployment.start()
    key_id = await deployment.key(nano=1000 * USD)
    for number in range(30):
        assert isinstance(await deployment.authorise(f"r{number}"), Hold)
    for number in range(5):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    await deployment.settled(key_id, 1000 * USD - 5 * billed(SMALL))
    backup = deployment.server.folder / "backup"
    deployment.server.stop()
    shutil.copytree(deployment.server.store, backup)
    deployment.server.start()
    await until(deployment.answers, "a ledger answers")
    for number in range(5, 10):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    await deployment.settled(key_id, 1000 * USD - 10 * billed(SMALL))
    await deployment.stop()
    began = time.monotonic()
    deployment.server.stop()
    shutil.rmtree(deployment.server.store)
    shutil.copytree(backup, deployment.server.store)
    deployment.server.start()

    async def connected() -> bool:
        return all(bus.connected and bus.connected_since > began for bus in deployment.buses.values())

    await until(connected, "the server is back")
    for number in range(10, 30):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    async with admin(deployment) as bus:
        await ask(bus, CONSUMER_INFO.replace("INFO", "DELETE"))
    await deployment.start()
    await deployment.settled(key_id, 1000 * USD - 30 * billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, 30, 0)


@on_postgresql
async def test_two_ledgers_that_start_at_once(deployment: Deployment) -> None:
    """The first stream is adopted by two ledgers in the same moment: the later one goes on with it and does not fail."""
    stores = [await deployment.source.again() for _ in range(2)]
    first, second = [await Books.open(store, deployment.clock) for store in stores]
    stream = jetstream.Stream("2026-11-25T00:00:00Z", jetstream.StreamState(), jetstream._Settings())
    writer = second.start()
    async with first.store.write() as tx:
        await tx.execute(
            "INSERT INTO stream_positions (identity, applied_seq, current, opened_ms, detail) VALUES ($1, 0, $2, 0, '')",
            stream.created,
            True,
        )
        adopting = asyncio.create_task(writer.between(lambda: positions.adopt(second.store, None, stream)))
        await a_lock_is_waited_for(deployment)
    assert await adopting == positions.Position(stream.created, 0)
    await first.close()
    await second.close()


async def test_a_stop_answers_what_is_on_its_way(deployment: Deployment) -> None:
    """A ledger that is stopped under load answers every request that it was sent: none is left to its deadline."""
    await deployment.start()
    await deployment.key(nano=10**6 * USD)
    stopping = asyncio.Event()

    async def caller(number: int) -> str:
        for step in range(100_000):
            if step == 3:
                stopping.set()
            try:
                if number % 2:
                    await deployment.ask(Role.COMMAND, PING, Ping(), Done)
                else:
                    await deployment.authorise(f"r{number}-{step}")
            except NoResponders:
                return "nobody listens"
            except BusTimeout:
                return "no answer"
        return "never stopped"

    callers = [asyncio.create_task(caller(number)) for number in range(64)]
    await stopping.wait()
    began = time.monotonic()
    await deployment.stop()
    assert set(await asyncio.gather(*callers)) == {"nobody listens"}
    assert time.monotonic() - began < 4
