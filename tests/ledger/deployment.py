"""Owns a deployment of ledgers around one nats-server and one database, in the process of its test."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from ledger.app import serve
from ledger.store.base import Store
from runtime.bus.bus import Bus, BusError
from runtime.reload import Live, Reloads
from runtime.settings.settings import Settings, SettingsError
from runtime.settings.stripe import StripeSettings
from schemas.bus import subjects
from schemas.bus.subjects import Role
from schemas.bus.usage import UsageBatch, UsageEvent, encode_batch
from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.audit import AUDIT, AuditQuery
from schemas.verbs.base import Done, Rows, Verb, encode
from schemas.verbs.calls import AUTHORISE, Authorise, AuthoriseReply
from schemas.verbs.keys import BALANCE, KEY_CREATE, KeyCreate, KeyRef
from schemas.verbs.ping import PING, Ping
from tests.fakes.nats import NatsServer
from tests.ledger.harness import POOLS, USD, Clock, digest_of

if TYPE_CHECKING:
    from tests.ledger.conftest import Source

DEADLINE_S = 60.0


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


class Deployment:
    """A nats-server, any number of ledgers on one database, and a connection of each role."""

    def __init__(self, source: "Source", server: NatsServer, clock: Clock) -> None:
        self.source = source
        self.server = server
        self.clock = clock
        self.running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self.buses: dict[Role, Bus] = {}
        self.store: Store
        self.stripe: StripeSettings | None = None
        self.file: (
            dict[str, Any] | SettingsError
        ) = {}  # what its ledgers find in it but for what they started with

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
            stripe=self.stripe,
        )
        stop, ready = asyncio.Event(), asyncio.Event()
        live = Live()
        reloads = Reloads(settings, partial(self._read, settings), live)
        live.ask = lambda check: reloads.reload(check=check)
        task = asyncio.ensure_future(
            serve(settings, stop, quiet_s=0.0, clock=self.clock, ready=ready, live=live)
        )
        self.running.append((stop, task))

        async def answers() -> bool:
            return await self.answers() and ready.is_set()  # itself, and not another that was there before

        await until(answers, "a ledger answers")

    def _read(self, started: Settings) -> Settings:
        if isinstance(self.file, SettingsError):
            raise self.file
        return structs.replace(started, **self.file)

    async def answers(self) -> bool:
        """Whether some ledger answers, and each role here can ask one."""
        for _, task in self.running:
            if task.done():
                task.result()
        if not all(bus.connected for bus in self.buses.values()):  # each comes back by itself
            return False
        try:
            await self.ask(Role.COMMAND, PING, Ping(), Done)
        except BusError:
            return False
        return True

    async def stop(self) -> None:
        """Stops all ledgers."""
        for stop, task in self.running:
            stop.set()
            await asyncio.wait_for(task, 10)
        self.running.clear()

    async def ask(self, role: Role, verb: Verb[Any, Any], request: Any, reply: Any) -> Any:
        """A request's answer."""
        data = await self.buses[role].request(verb.subject, encode(request), 5.0)
        return msgspec.msgpack.decode(data, type=reply)

    async def key(self, name: str = "key", nano: int = 50 * USD) -> str:
        """Makes a key."""
        request = KeyCreate(
            v=1,
            digest=digest_of(name),
            name=name,
            profile="",
            posted_nano=nano,
            providers=None,
            playground=False,
        )
        rows: Rows = await self.ask(Role.COMMAND, KEY_CREATE, request, Rows)
        return str(rows.rows[0]["id"])

    async def authorise(self, request_id: str, key: str = "key") -> Any:
        """A hold or a refusal."""
        request = Authorise(
            v=1,
            request_id=request_id,
            digest=digest_of(key),
            model="gpt-4o",
            prompt_max=100,
            choices=1,
            limit=50,
        )
        return await self.ask(Role.EDGE, AUTHORISE, request, AuthoriseReply)

    async def publish(self, name: str, *events: UsageEvent) -> None:
        """Puts one message on the stream."""
        data = encode_batch(UsageBatch(1, events))
        await self.buses[Role.USAGE].js_publish(subjects.usage("openai"), data, name, 5.0)

    async def audit(self) -> dict[str, Any]:
        """The proof, by the verb."""
        rows = await self.ask(Role.COMMAND, AUDIT, AuditQuery(), Rows)
        return dict(rows.rows[0])

    async def posted(self, key_id: str) -> int:
        """A key's balance."""
        rows = await self.ask(Role.COMMAND, BALANCE, KeyRef(1, key_id), Rows)
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


@contextlib.asynccontextmanager
async def admin(deployment: Deployment) -> AsyncIterator[Bus]:
    """A connection with a ledger's rights, to do to the consumer what an accident would."""
    bus = await Bus.connect(
        deployment.server.settings(), Role.LEDGER, name="accident", on_closed=lambda: None
    )
    yield bus
    await bus.close()
