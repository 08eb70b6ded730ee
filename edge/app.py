"""Owns an edge as a whole: builds it from its settings, runs it until it is told to stop, and stops it in order."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from datetime import date
from ipaddress import ip_network

from msgspec import structs
from uvicorn import Config

from edge import telemetry
from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue
from edge.admission.desk import Desk
from edge.admission.listing import Listing
from edge.admission.pages import PageCounter
from edge.budget import Budget
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.http.connection import BoundedProtocol, bounded
from edge.http.cors import Cors
from edge.http.places import Places
from edge.http.server import EdgeServer
from edge.limits import LEFT_GRACE_S, LIMITS, Limits
from edge.own import OwnReads
from edge.reload import Following
from edge.routes import ROUTES, gate, site
from edge.routes.endpoint import Backing, Load, Routes
from edge.site.site import Site
from edge.watch import Watch
from runtime import descriptors
from runtime.bus.bus import Bus
from runtime.catalogue.shelf import utc_today
from runtime.http import listen
from runtime.ledger import LedgerClient, Patience
from runtime.log import get_logger
from runtime.metrics import watch_bus
from runtime.peers import Trusted
from runtime.reload import Live
from runtime.service import end_process
from runtime.settings.settings import Settings
from schemas.bus.subjects import Role
from schemas.errors import unavailable

SWEPT_AT_ONCE = 256  # connections that are looked at before others have their turn
WOKEN_AT_ONCE = 8  # of them: to end one with an answer, or to ask for its key, takes as long as thirty looks
FINISH_S = 2.0  # for the last errors to reach callers, and the last errands the ledger, at the least

_logger = get_logger("edge.app")


async def serve(settings: Settings, stop: asyncio.Event, *, live: Live | None = None) -> None:
    """Runs an edge until `stop` is set. Raises SettingsError for a port in use or refused credentials."""
    calls, connections = settings.calls, settings.connections
    limits = structs.replace(
        LIMITS,
        full_wait_s=settings.full_wait_s,
        call_s=calls.total_s,
        grace_s=calls.grace_s,
        drain_s=connections.drain_s,
        keep_alive_s=connections.keep_alive_s,
        left_s=calls.drain_s + LEFT_GRACE_S,
    )
    edge = Edge(settings, limits)
    try:
        await edge.open()
        if live is not None:
            live.follow(edge.following.prepare)
        await edge.run(stop)
    finally:
        await edge.close()


class Edge:
    """One edge: `open`, `run`, `close`. `port` is where it listens, once open. `today` is the day that models end by."""

    def __init__(self, settings: Settings, limits: Limits, today: Callable[[], date] = utc_today) -> None:
        self._today = today
        self._settings = settings
        self._limits = limits
        self._stack = contextlib.AsyncExitStack()
        self.port = settings.port

    async def open(self) -> None:
        """Takes the port, connects to NATS, and subscribes."""
        limits = self._limits
        self._socket = listen(self._settings.host, self._settings.port)
        # Connections inherit it. Else the system buffers megabytes of a stream that nobody reads.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
        self._stack.callback(self._socket.close)
        self.port = int(self._socket.getsockname()[1])
        self.bus = await Bus.connect(self._settings.nats, Role.EDGE, name="edge", on_closed=end_process)
        self._stack.push_async_callback(self.bus.close)
        watch_bus(self.bus)
        self.load = Load(limits)
        self.budget = Budget(limits.buffered_bytes)
        pools = [pool.name for pool in self._settings.pools]
        self.roster = Roster(limits.overdue_s, pools)
        ledger = LedgerClient(
            self.bus,
            Patience(total_s=limits.ledger_s, try_s=limits.ledger_try_s, pause_s=limits.ledger_pause_s),
        )
        self.catalogue = Catalogue(ledger, limits)
        self._stack.push_async_callback(self.catalogue.close)
        rules = {pool.name: pool.fairness for pool in self._settings.pools}
        self.relay = Relay(self.bus, ledger, self.roster, self.budget, limits, rules=rules)
        await self.relay.open()
        pages = PageCounter()
        self._stack.callback(pages.close)
        desk = Desk(limits)
        self._stack.callback(desk.close)
        admission = Admission(
            ledger=ledger,
            catalogue=self.catalogue,
            roster=self.roster,
            relay=self.relay,
            pages=pages,
            desk=desk,
            budget=self.budget,
            limits=limits,
            keeps_items=self._settings.keep_items,
            today=self._today,
            usage_cost=self._settings.usage_cost,
        )
        cors = Cors(self._settings.cors_origins)
        self.following = Following(
            limits=limits,
            cors=cors,
            pools=pools,
            rules=rules,
            relay=self.relay,
            catalogue=self.catalogue,
        )
        self.places = Places(max(1, min(limits.connections, descriptors.limit() - limits.descriptors_kept)))
        telemetry.CONNECTIONS.set_function(self.places.__len__)
        self.watch = Watch(asyncio.get_running_loop(), lambda: self.places.at_work)
        self._stack.callback(self.watch.close)
        backing = Backing(
            load=self.load,
            bus=self.bus,
            ledger=ledger,
            catalogue=self.catalogue,
            listing=Listing(self.catalogue, self.roster, self._today),
            roster=self.roster,
            relay=self.relay,
            admission=admission,
            budget=self.budget,
            pools=pools,
            cors=cors,
            own=OwnReads(ledger),
        )
        self.server = self._served(backing)

    def _served(self, backing: Backing) -> EdgeServer:
        limits = self._limits
        trusted = Trusted([ip_network(one) for one in self._settings.connections.trusted_proxies])
        spare = descriptors.limit() - limits.descriptors_kept - self.places.most
        return EdgeServer(
            self._config(backing, trusted),
            places=self.places,
            trusted=trusted,
            waiting=min(limits.waiting_connections, max(spare, limits.waiting_connections_least)),
        )

    def _config(self, backing: Backing, trusted: Trusted) -> Config:
        limits, settings = self._limits, self._settings
        pages = site.rows(Site(settings.public_url, settings.rate, self._address())) if settings.pages else ()
        return Config(
            Routes((*ROUTES, *pages), backing),
            http=bounded(
                limits=limits,
                cors=backing.cors,
                places=self.places,
                gate=gate(),
                trusted=trusted,
                watch=self.watch,
            ),
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=limits.backlog,
            timeout_graceful_shutdown=int(limits.grace_s + FINISH_S),
        )

    def _address(self) -> str:
        """Where it listens, as an address: what pages say to who sends no Host that could be one."""
        return f"http://{f'[{self._settings.host}]' if ':' in self._settings.host else self._settings.host}:{self.port}"

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set and calls in flight are done, or their grace period is over."""
        serving = asyncio.create_task(self.server.serve(sockets=[self._socket]))
        ticking = asyncio.create_task(self._tick())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, ticking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ticking.done():
                await ticking  # it never ends by itself: this raises what ended it
            if serving.done() and not stop.is_set():
                await serving
                raise RuntimeError("the server of HTTP ended by itself")
            limits = self._limits
            self.load.stopping = True
            if limits.drain_s and not serving.done():
                self._drain()
                await asyncio.wait(
                    {serving, ticking}, timeout=limits.drain_s, return_when=asyncio.FIRST_COMPLETED
                )
            over = time.monotonic() + limits.grace_s
            self.server.leave()
            await asyncio.wait(
                {serving, ticking}, timeout=limits.grace_s, return_when=asyncio.FIRST_COMPLETED
            )
            if ticking.done():
                await ticking
            if not serving.done():
                _logger.warning("the grace period is over; calls are ended", calls=len(self.relay))
                self.relay.end_all(unavailable("The gateway is being restarted. Retry with backoff."))
            await serving
            # The ledger that refunds wait for may be away for as long as the longest call may take.
            await self.relay.close(
                FINISH_S, max(FINISH_S, min(limits.refund_stop_s, over - time.monotonic()))
            )
        finally:
            for task in (serving, ticking, stopping):
                task.cancel()
            await asyncio.wait({serving, ticking, stopping})

    def _drain(self) -> None:
        # Who asks is told that the edge is not ready, and each answer is the last on its connection.
        # A connection without a request stays until one comes, for that may be on its way.
        self.places.draining = True
        for connection in self.server.server_state.connections:
            if isinstance(connection, BoundedProtocol) and connection.cycle is not None:
                connection.cycle.keep_alive = False

    async def _tick(self) -> None:
        while True:
            now = time.monotonic()
            self.catalogue.refresh(now)
            self.relay.tick(now)
            await self._sweep()
            await asyncio.sleep(self._limits.tick_s)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        looks = woken = 0
        for connection in list(self.server.server_state.connections):
            looks += 1
            if isinstance(connection, BoundedProtocol) and connection.sweep(loop.time()):
                woken += 1
            if looks >= SWEPT_AT_ONCE or woken >= WOKEN_AT_ONCE:
                looks = woken = 0
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Leaves NATS and the port."""
        await self._stack.aclose()
