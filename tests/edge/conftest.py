"""Owns the fixtures of edge tests: a real nats-server, stand-ins for ledger and worker, a real edge on a port."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import date

import httpx
import msgspec
import pytest

from edge.app import Edge
from edge.limits import LIMITS, Limits
from runtime.settings.edge import ConnectionSettings
from runtime.settings.settings import PoolSettings, Settings
from schemas.bus.subjects import Role
from tests.edge.stand_ins import ScriptedLedger, ScriptedWorker, connect, until
from tests.fakes.nats import NatsServer

FAST = msgspec.structs.replace(
    LIMITS,
    tick_s=0.05,
    accept_s=0.5,
    full_wait_s=0.5,
    first_event_s=0.5,
    ping_s=0.3,
    gap_s=0.4,
    overdue_s=1.0,
    probe_gap_s=0.2,
    settled_s=0.2,
    ledger_s=1.5,
    ledger_try_s=0.5,
    catalogue_gap_s=0.0,
    grace_s=2.0,
    head_s=1.0,
    body_s=1.0,
)

# While a server of NATS is started again, a busy machine takes seconds: nobody is given up for that.
PATIENT = msgspec.structs.replace(
    FAST, accept_s=2.0, full_wait_s=10.0, overdue_s=30.0, settled_s=10.0, ledger_s=30.0, bus_s=60.0
)


class Rig:
    """An edge, and all it stands on."""

    def __init__(self, nats: NatsServer) -> None:
        self.nats = nats
        self.day = date(2026, 11, 26)  # that models end by
        self.stack = contextlib.AsyncExitStack()
        self.workers: list[ScriptedWorker] = []
        self.running: asyncio.Task[None] | None = None
        self.cors_origins: tuple[str, ...] = ("*",)
        self.keep_items = True
        self.usage_cost = False
        self.pages = True
        self.public_url = ""
        self.trusted_proxies: tuple[str, ...] = ()

    async def open(self, limits: Limits) -> None:
        """Starts everything with one worker."""
        ledger_bus = await connect(self.nats, Role.LEDGER)
        self.stack.push_async_callback(ledger_bus.close)
        self.ledger = await ScriptedLedger(ledger_bus).open()
        self.edge = Edge(
            Settings(
                nats=self.nats.settings(Role.EDGE),
                port=0,
                cors_origins=self.cors_origins,
                keep_items=self.keep_items,
                usage_cost=self.usage_cost,
                pages=self.pages,
                public_url=self.public_url,
                connections=ConnectionSettings(trusted_proxies=self.trusted_proxies),
                pools=(PoolSettings(name="sandbox", provider="sandbox"),),
            ),
            limits,
            lambda: self.day,
        )
        self.stack.push_async_callback(self.edge.close)
        await self.edge.open()
        self.stop = asyncio.Event()
        self.running = asyncio.create_task(self.edge.run(self.stop))
        self.stack.push_async_callback(self._stop)
        self.url = f"http://127.0.0.1:{self.edge.port}"
        self.http = httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {self.ledger.key}"}, timeout=60
        )
        self.stack.push_async_callback(self.http.aclose)
        self.worker = await self.add_worker()
        await until(lambda: self.edge.catalogue.loaded and not self.edge.roster.silent("sandbox"))

    async def add_worker(
        self, pool: str = "sandbox", models: tuple[str, ...] = ("tokn-sandbox",)
    ) -> ScriptedWorker:
        """One more worker, on a connection of its own."""
        bus = await connect(self.nats, Role.WORKER)
        self.stack.push_async_callback(bus.close)
        jobs = await connect(self.nats, Role.USAGE)
        self.stack.push_async_callback(jobs.close)
        worker = ScriptedWorker(bus, jobs, pool=pool, models=models)
        self.stack.push_async_callback(worker.close)
        self.workers.append(await worker.open())
        return worker

    async def chat(self, **more: object) -> httpx.Response:
        """A chat call."""
        body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], **more}
        return await self.http.post("/v1/chat/completions", json=body)

    async def _stop(self) -> None:
        self.stop.set()
        assert self.running is not None
        await asyncio.wait_for(self.running, 10)


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document counts by its pages however busy the machine is: what is not counted in time counts the most."""
    monkeypatch.setattr("edge.admission.pages.COUNT_S", 60.0)


@pytest.fixture(scope="session")
def nats() -> Iterator[NatsServer]:
    """One nats-server for all tests that do not harm it."""
    with NatsServer() as server:
        yield server


@pytest.fixture
async def rig(nats: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """An edge with short times; `@pytest.mark.parametrize("rig", [limits], indirect=True)` gives it others."""
    made = Rig(nats)
    async with made.stack:
        await made.open(getattr(request, "param", FAST))
        yield made


@pytest.fixture
async def own_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """As `rig`, on a nats-server of its own, to be killed and restarted, and with patience for that."""
    with NatsServer() as server:
        made = Rig(server)
        async with made.stack:
            await made.open(getattr(request, "param", PATIENT))
            yield made
