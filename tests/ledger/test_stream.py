"""The stream may lie: replays, restored books, lost streams, poison, and several ledgers on one database."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from ledger import jetstream
from ledger.app import serve
from ledger.store import Store
from runtime.bus import Bus, BusError
from runtime.settings import Settings
from schemas import books as verbs
from schemas import subjects
from schemas.books import Authorise, AuthoriseReply, Done, Hold, KeyCreate, KeyRef, Ping, Rows
from schemas.builtin import BUILTIN
from schemas.pricing import TokenUsage
from schemas.subjects import LedgerVerb, Role
from schemas.usage import UsageBatch, UsageEvent, encode_batch
from tests.fakes.nats import NatsServer
from tests.ledger.conftest import Source
from tests.ledger.harness import POOLS, USD, Books, Clock, billed, digest_of, event

SMALL = TokenUsage(input=80, output=40)
DEADLINE_S = 20.0


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


class Deployment:
    """A nats-server, any number of ledgers on one database, and a connection of each role."""

    def __init__(self, source: Source, server: NatsServer, clock: Clock) -> None:
        self.source = source
        self.server = server
        self.clock = clock
        self.running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self.buses: dict[Role, Bus] = {}
        self.store: Store

    async def open(self) -> None:
        """Database and connections."""
        self.store = await self.source.open()
        for role in (Role.EDGE, Role.USAGE, Role.COMMAND):
            self.buses[role] = await Bus.connect(
                self.server.settings(), role, name="test", on_closed=lambda: None
            )

    async def start(self) -> None:
        """One more ledger."""
        settings = Settings(
            nats=self.server.settings(Role.LEDGER),
            database_url=self.source.url,
            pepper="pepper",
            models=BUILTIN,
            pools=POOLS,
        )
        stop = asyncio.Event()
        task = asyncio.ensure_future(serve(settings, stop, quiet_s=0.0, clock=self.clock))
        self.running.append((stop, task))
        await until(self.answers, "a ledger answers")

    async def answers(self) -> bool:
        """Whether some ledger answers."""
        for _, task in self.running:
            if task.done():
                task.result()
        try:
            await self.ask(Role.COMMAND, LedgerVerb.PING, Ping(), Done)
        except BusError:
            return False
        return True

    async def stop(self) -> None:
        """Stops all ledgers."""
        for stop, task in self.running:
            stop.set()
            await asyncio.wait_for(task, 10)
        self.running.clear()

    async def ask(self, role: Role, verb: LedgerVerb, request: Any, reply: Any) -> Any:
        """A request's answer."""
        data = await self.buses[role].request(subjects.ledger(verb), verbs.encode(request), 5.0)
        return msgspec.msgpack.decode(data, type=reply)

    async def key(self, name: str = "key", nano: int = 50 * USD) -> str:
        """Makes a key."""
        request = KeyCreate(1, digest_of(name), name, "", nano, None, False)
        rows: Rows = await self.ask(Role.COMMAND, LedgerVerb.KEY_CREATE, request, Rows)
        return str(rows.rows[0]["id"])

    async def authorise(self, request_id: str, key: str = "key") -> Any:
        """A hold or a refusal."""
        request = Authorise(1, request_id, digest_of(key), "gpt-4o", 100, 1, 50)
        return await self.ask(Role.EDGE, LedgerVerb.AUTHORISE, request, AuthoriseReply)

    async def publish(self, name: str, *events: UsageEvent) -> None:
        """Puts one message on the stream."""
        data = encode_batch(UsageBatch(1, events))
        await self.buses[Role.USAGE].js_publish(subjects.usage("openai"), data, name, 5.0)

    async def audit(self) -> dict[str, Any]:
        """The proof, by the verb."""
        rows = await self.ask(Role.COMMAND, LedgerVerb.AUDIT, verbs.AuditQuery(), Rows)
        return dict(rows.rows[0])

    async def posted(self, key_id: str) -> int:
        """A key's balance."""
        rows = await self.ask(Role.COMMAND, LedgerVerb.BALANCE, KeyRef(1, key_id), Rows)
        return int(rows.rows[0]["posted_nano"])

    async def settled(self, key_id: str, nano: int) -> None:
        """Waits until a balance is what it should be."""

        async def there() -> bool:
            return await self.posted(key_id) == nano

        await until(there, f"the balance is {nano}, not {await self.posted(key_id)}")

    async def applied(self) -> int:
        """The books' position in the current stream."""
        rows = await self.store.fetch("SELECT applied_seq FROM stream_positions WHERE current")
        return int(rows[0][0]) if rows else -1

    async def close(self) -> None:
        """Ends everything."""
        await self.stop()
        for bus in self.buses.values():
            await bus.close()
        await self.store.close()


@pytest.fixture
async def deployment(source: Source, clock: Clock) -> AsyncIterator[Deployment]:
    """A deployment without a ledger."""
    with NatsServer() as server:
        made = Deployment(source, server, clock)
        await made.open()
        yield made
        await made.close()


@contextlib.asynccontextmanager
async def admin(deployment: Deployment) -> AsyncIterator[Bus]:
    """A connection with a ledger's rights, to do to the consumer what an accident would."""
    bus = await Bus.connect(
        deployment.server.settings(), Role.LEDGER, name="accident", on_closed=lambda: None
    )
    yield bus
    await bus.close()


async def test_a_call_is_paid(deployment: Deployment) -> None:
    """From the hold to the bill over the bus; a stopped ledger finds what came meanwhile."""
    await deployment.start()
    key_id = await deployment.key()
    assert isinstance(await deployment.authorise("r1"), Hold)
    assert isinstance(await deployment.authorise("r2"), Hold)
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.start()
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))
    assert (await deployment.audit())["ok"]


async def test_full_replays_change_nothing(deployment: Deployment) -> None:
    """T4, small: the durable is deleted and made anew to deliver all, three times; the books stay the same."""
    await deployment.start()
    await deployment.key()
    for number in range(60):
        assert isinstance(await deployment.authorise(f"r{number}"), Hold)
    for number in range(0, 60, 5):
        await deployment.publish(f"m{number}", *(event(f"r{n}", SMALL) for n in range(number, number + 5)))
    books = Books(deployment.store, deployment.clock)

    async def done() -> bool:
        return await deployment.applied() == 12

    await until(done, "all is applied")
    before = await books.state()
    async with admin(deployment) as bus:
        for _ in range(3):
            await jetstream.reset_consumer(bus, 1)

            async def replayed() -> bool:
                consumer = await jetstream.consumer(bus)
                return consumer.ack_floor.stream_seq == 12 and consumer.num_ack_pending == 0

            await until(replayed, "all is acknowledged again")
            assert await books.state() == before
    assert (await deployment.audit())["ok"]


async def test_restored_books_are_caught_up(deployment: Deployment) -> None:
    """If the books are behind what was acknowledged, the audit says so and the consumer replays from there."""
    await deployment.start()
    key_id = await deployment.key()
    for name in ("r1", "r2"):
        await deployment.authorise(name)
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.stop()
    # The books as a backup from before the first event has them.
    async with deployment.store.write() as tx:
        hold = await tx.fetch("SELECT amount_nano FROM holds WHERE request_id = $1", "r1")
        await tx.execute("DELETE FROM usage")
        await tx.execute("DELETE FROM transfers WHERE kind IN ('charge', 'cost')")
        await tx.execute(
            "UPDATE holds SET state = 'open', held_nano = amount_nano, closed_ms = 0 WHERE request_id = $1",
            "r1",
        )
        await tx.execute("UPDATE accounts SET posted_nano = 0 WHERE id IN ('revenue', 'cost_of_goods')")
        await tx.execute(
            "UPDATE accounts SET posted_nano = $2, held_nano = $3 WHERE id = $1",
            f"key:{key_id}",
            50 * USD,
            2 * hold[0][0],
        )
        await tx.execute(
            "UPDATE accounts SET posted_nano = $2 WHERE id = $1", "upstream:openai:main", 1000 * USD
        )
        await tx.execute("UPDATE stream_positions SET applied_seq = 0")
    await deployment.start()
    await deployment.publish("m2", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))

    async def sound() -> bool:
        return bool((await deployment.audit())["ok"])

    await until(sound, "the audit passes")


async def test_a_lost_stream(deployment: Deployment) -> None:
    """T5, small: the stream is lost; the audit counts it, holds expire by rule, nothing is below zero, calls go on."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.publish("m1", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    await deployment.authorise("lost")
    deployment.server.kill()
    shutil.rmtree(deployment.server.store)
    deployment.server.start()

    async def noticed() -> bool:
        with contextlib.suppress(BusError):
            return bool((await deployment.audit())["streams_lost"] == 1)
        return False

    await until(noticed, "the audit says that the stream was lost")
    deployment.clock.turn(31)

    async def expired() -> bool:
        return bool((await deployment.audit())["expired"] == 1)

    await until(expired, "the hold expires")
    await deployment.authorise("r2")
    await deployment.publish("m1", event("r2", SMALL))
    await deployment.settled(key_id, 50 * USD - 2 * billed(SMALL))
    assert (await deployment.audit())["ok"]


async def test_poison_is_parked(deployment: Deployment) -> None:
    """A message that nobody can read is put aside, once, and what follows it is applied."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    usage_bus = deployment.buses[Role.USAGE]
    await usage_bus.js_publish(subjects.usage("openai"), b"\xc1 nonsense", "m0", 5.0)
    await usage_bus.js_publish(subjects.usage("openai"), encode_batch(UsageBatch(99, ())), "m1", 5.0)
    await deployment.publish("m2", event("r1", SMALL))
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["parked"], proof["applied_seq"]) == (True, 2, 3)


async def test_nothing_expires_before_its_event_is_applied(deployment: Deployment) -> None:
    """A bill that waits in the stream while the ledger is down is billed, though the lease ran out meanwhile."""
    await deployment.start()
    key_id = await deployment.key()
    await deployment.authorise("r1")
    await deployment.stop()
    await deployment.publish("m1", event("r1", SMALL))
    deployment.clock.turn(600)
    await deployment.start()
    await deployment.settled(key_id, 50 * USD - billed(SMALL))
    proof = await deployment.audit()
    assert (proof["ok"], proof["expired"], proof["open_holds"]) == (True, 0, 0)


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_several_ledgers_share_the_books(deployment: Deployment) -> None:
    """Two ledgers on one PostgreSQL, one hot key and many others: no deadlock, each call once, positions agree."""
    await deployment.start()
    await deployment.start()
    hot = await deployment.key("hot", 500 * USD)
    for number in range(20):
        await deployment.key(f"key{number}")

    async def call(number: int) -> None:
        name = f"c{number}"
        key = "hot" if number % 2 else f"key{number % 20}"
        assert isinstance(await deployment.authorise(name, key), Hold)
        await deployment.publish(f"m{number}", event(name, SMALL), event(name, SMALL))
        await deployment.publish(f"again{number}", event(name, SMALL))

    await asyncio.gather(*(call(number) for number in range(200)))
    await deployment.settled(hot, 500 * USD - 100 * billed(SMALL))

    async def done() -> bool:
        return await deployment.applied() == 400

    await until(done, "all is applied, with no gap left")
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, 200, 0)
    assert await deployment.store.fetch("SELECT * FROM stream_ranges") == []
