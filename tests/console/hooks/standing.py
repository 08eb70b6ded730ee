"""Owns a deployment for tests of the dispatcher: a real nats-server, a real ledger on SQLite, and any number of dispatchers."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from console.hooks.dispatcher import Dispatcher
from console.hooks.retries import Retries
from ledger.app import serve
from runtime.bus.bus import Bus, BusError
from runtime.ledger import LedgerClient, once
from runtime.settings.settings import Settings
from schemas.bus.subjects import Role
from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.acts import ACT, ActRequest
from schemas.verbs.base import encode
from schemas.verbs.keys import KeyCreate
from schemas.verbs.webhooks import DELIVERIES, WEBHOOKS, DeliveriesQuery, WebhookCreate, WebhooksQuery
from schemas.webhooks import new_secret
from tests.fakes.nats import NatsServer
from tests.ledger.harness import POOLS, digest_of

DEADLINE_S = 60.0
SECRET = new_secret()


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


class Standing:
    """What a test stands on. It is entered once a test."""

    def __init__(self, server: NatsServer, folder: Path) -> None:
        self.server = server
        self._stack = contextlib.AsyncExitStack()
        self._settings = Settings(
            nats=server.settings(Role.LEDGER),
            database_url=f"sqlite:///{folder / 'books.db'}",
            pepper="pepper",
            models=BUILTIN,
            pools=POOLS,
        )
        self.ledger: LedgerClient
        self._keys = 0

    async def bus(self, role: Role) -> Bus:
        """A connection that lasts as long as this."""
        made = await Bus.connect(self.server.settings(role), role, name="test", on_closed=lambda: None)
        self._stack.push_async_callback(made.close)
        return made

    async def __aenter__(self) -> Self:
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(serve(self._settings, stop, quiet_s=0.0, ready=ready))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait([task, waiting], timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task

        async def end() -> None:
            stop.set()
            await asyncio.wait_for(task, DEADLINE_S)

        self._stack.push_async_callback(end)
        self.ledger = LedgerClient(await self.bus(Role.COMMAND), once(5.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def dispatcher(self, factor: float = 1 / 600, **options: Any) -> asyncio.Task[None]:
        """One more dispatcher, on a connection of its own. Cancelled, it stops in order."""
        bus = await self.bus(Role.CONSOLE)
        made = Dispatcher(
            bus,
            LedgerClient(bus, once(5.0)),
            **{"allow_private": True, "retries": Retries(factor)} | options,
        )
        task = asyncio.create_task(made.run(0.05))
        task.made, task.bus = made, bus

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._stack.push_async_callback(end)
        return task

    async def act(self, name: str, form: Any) -> dict[str, Any]:
        """An act's row."""
        reply = await self.ledger.ask(ACT, ActRequest(1, name, encode(form)))
        assert not reply.problem, reply.problem
        return dict(reply.rows[0])

    async def endpoint(self, url: str, *events: str, **fields: Any) -> str:
        """Makes an endpoint whose secret is SECRET. Returns its id."""
        form = WebhookCreate(1, url, SECRET, events or ("key.created",), **fields)
        return str((await self.act("webhook_create", form))["id"])

    async def key(self, organization: str = "acme") -> str:
        """Makes a key, which is an event. Returns its id."""
        self._keys += 1
        form = KeyCreate(
            v=1,
            digest=digest_of(f"{self._keys}"),
            name="",
            profile=organization,
            posted_nano=0,
            providers=None,
            playground=False,
        )
        return str((await self.act("key_create", form))["id"])

    async def deliveries(self, endpoint: str) -> list[dict[str, Any]]:
        """What is noted of an endpoint, the oldest first."""
        rows = (await self.ledger.ask(DELIVERIES, DeliveriesQuery(endpoint=endpoint, limit=200))).rows
        return [dict(row) for row in sorted(rows, key=lambda row: (row["created"], row["id"]))]

    async def status(self, endpoint: str) -> str:
        """What an endpoint is."""
        try:
            (row,) = (await self.ledger.ask(WEBHOOKS, WebhooksQuery(id=endpoint))).rows
        except BusError:
            return ""
        return str(row["status"])
