"""Owns a console as a whole: builds it from its settings, runs it until it is told to stop, and stops it in order."""

import asyncio
import contextlib

from msgspec import structs

from console.desk import Desk, read_pages
from console.guard import Guard
from console.hooks.dispatcher import Dispatcher
from console.limits import LIMITS, Limits
from console.reload import Following
from runtime.bus.bus import Bus
from runtime.http import HttpLimits, HttpServer, listen
from runtime.ledger import LedgerClient, Patience
from runtime.metrics import watch_bus, watch_ready
from runtime.reload import Live
from runtime.service import end_process
from runtime.settings.console import exposed
from runtime.settings.oidc import unsupported
from runtime.settings.settings import Settings, SettingsError
from runtime.tasks import Vital
from schemas.bus.subjects import Role
from schemas.verbs.topups import EVENT_BYTES_MAX


async def serve(settings: Settings, stop: asyncio.Event, *, live: Live | None = None) -> None:
    """Runs a console until `stop` is set. Raises SettingsError for a port in use or refused credentials."""
    console = Console(settings, LIMITS)
    try:
        await console.open()
        if live is not None:
            live.follow(Following(console.desk).prepare)
        await console.run(stop)
    finally:
        await console.close()


class Console:
    """One console: `open`, `run`, `close`. `port` is where it listens, once open."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._stack = contextlib.AsyncExitStack()
        self.port = settings.console.port

    async def open(self) -> None:
        """Takes the port and connects to NATS."""
        own, limits = self._settings.console, self._limits
        if why := exposed(own):
            raise SettingsError(f"{self._settings.source}: [console]: {why}")
        if why := unsupported(own.oidc):
            raise SettingsError(f"{self._settings.source}: [console.oidc]: {why}")
        self._socket = listen(own.host, own.port)
        self._stack.callback(self._socket.close)
        self.port = int(self._socket.getsockname()[1])
        bus = await Bus.connect(self._settings.nats, Role.CONSOLE, name="console", on_closed=end_process)
        self._stack.push_async_callback(bus.close)
        watch_bus(bus)
        ledger = LedgerClient(
            bus, Patience(total_s=limits.ledger_s, try_s=limits.ledger_try_s, pause_s=limits.ledger_pause_s)
        )
        watch_ready(lambda: ledger.answers(limits.ready_s))
        self._stack.callback(watch_ready, None)
        self.desk = Desk(self._settings, ledger, limits, read_pages())
        self._server = HttpServer(Guard(self.desk), self._bounds())
        self._dispatcher = Dispatcher(bus, ledger, allow_private=own.allow_private_webhooks)

    def _bounds(self) -> HttpLimits:
        """Events of Stripe may be larger than any form."""
        bounds = self._limits.http
        return structs.replace(bounds, body_bytes=EVENT_BYTES_MAX) if self.desk.payments else bounds

    async def run(self, stop: asyncio.Event) -> None:
        """Serves and delivers until `stop` is set."""
        vital = Vital()
        try:
            vital.start("webhooks", self._dispatcher.run())
            pages = vital.start("pages", self._server.run_until(self._socket, stop), may_return=True)
            await vital.until(stop)
            await pages
        finally:
            await vital.close()

    async def close(self) -> None:
        """Leaves NATS and the port."""
        await self._stack.aclose()
