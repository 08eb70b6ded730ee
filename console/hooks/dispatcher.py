"""Owns the dispatcher of webhooks: which endpoints there are, and the deliveries to each. Any number may run side by side.

    vital.start("webhooks", Dispatcher(bus, LedgerClient(bus, patience)).run())

All of them share each endpoint's consumer. What one of them has not acknowledged when it is killed, another one gets.
"""

import asyncio
import ssl
import time
from functools import cache
from typing import Final

import msgspec

from console.hooks.address import Lookup, looked_up
from console.hooks.endpoint import SENDING_MAX, Deliveries, Ways
from console.hooks.needs import Heard, Ledger, Line
from console.hooks.retries import Retries
from runtime.bounded import Warnings
from runtime.bus.bus import BusError, Message
from runtime.ledger import once
from runtime.log import get_logger
from schemas.bus.subjects import HOOK_CONSUMER, reply_prefix
from schemas.verbs.base import VERSION
from schemas.verbs.hooks import HOOKS, Hook, HooksQuery

LOOK_S: Final = 2.0  # between two looks for changes of endpoints
ASK_S: Final = 5.0
PAGES_MAX: Final = 100  # of endpoints; those beyond get nothing
QUIET_S: Final = 10.0  # without a ledger before it is told: one that starts beside needs a moment
GRACE_S: Final = 5.0  # for what is under way at a stop
_logger = get_logger("console.hooks")
_away = Warnings(_logger, "webhook endpoints cannot be looked up")


class Dispatcher:
    """Delivers events until it is cancelled. `tls` and `lookup` replace the machine's own, for tests."""

    def __init__(
        self,
        line: Line,
        ledger: Ledger,
        *,
        allow_private: bool = False,
        retries: Retries = Retries(),  # noqa: B008  frozen
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = looked_up,
    ) -> None:
        self._ways = Ways(
            line=line,
            ledger=ledger,
            tls=cache(ssl.create_default_context) if tls is None else lambda: tls,
            sending=asyncio.Semaphore(SENDING_MAX),
            allow_private=allow_private,
            retries=retries,
            lookup=lookup,
        )
        self._inbox = f"{reply_prefix(line.role)}.{line.id}.hook"
        self._version = -1
        self._deliveries: dict[str, tuple[Deliveries, asyncio.Task[None]]] = {}

    async def run(self, look_s: float = LOOK_S) -> None:
        """Looks for endpoints, and delivers to them, until cancelled."""
        heard = await self._subscribed()
        looked_s = time.monotonic()
        try:
            while True:
                try:
                    await self.look()
                    looked_s = time.monotonic()
                except (BusError, msgspec.MsgspecError) as error:
                    if time.monotonic() - looked_s > QUIET_S:
                        _away.say("", error=str(error))
                await asyncio.sleep(look_s)
        finally:
            await self._close(heard)

    async def _subscribed(self) -> Heard:
        while True:
            try:
                return await self._ways.line.subscribe(f"{self._inbox}.*", self._on_message)
            except BusError as error:
                _away.say("", error=str(error))
                await asyncio.sleep(LOOK_S)

    async def _close(self, heard: Heard) -> None:
        ending = [asyncio.create_task(one.end(GRACE_S)) for one, _ in self._deliveries.values()]
        if ending:
            await asyncio.wait(ending)
            await asyncio.wait([task for _, task in self._deliveries.values()])
        try:
            await heard.leave()
        except BusError as error:
            _logger.info("the bus was gone first", error=str(error))

    async def look(self) -> None:
        """Begins, changes and ends deliveries as the endpoints are now. Raises BusError, MsgspecError."""
        hooks = await self._hooks()
        if hooks is None:
            return
        for id_ in [id_ for id_ in self._deliveries if id_ not in hooks]:
            deliveries, task = self._deliveries.pop(id_)
            await deliveries.end()
            await asyncio.wait([task])
        for id_, hook in hooks.items():
            running = self._deliveries.get(id_)
            if running is not None and not running[1].done():
                running[0].hook = hook
                continue
            deliveries = Deliveries(hook, self._ways, f"{self._inbox}.{id_}")
            self._deliveries[id_] = (
                deliveries,
                asyncio.create_task(deliveries.run(), name=f"webhooks {id_}"),
            )

    async def _hooks(self) -> dict[str, Hook] | None:
        """All endpoints by id; None if they are as they were."""
        found: dict[str, Hook] = {}
        after, version = "", -1
        for _ in range(PAGES_MAX):
            query = HooksQuery(VERSION, self._version, after)
            reply = await self._ways.ledger.ask(HOOKS, query, patience=once(ASK_S))
            version = version if after else reply.version  # what changes meanwhile is seen at the next look
            if not after and version == self._version:
                return None
            found.update((hook.id, hook) for hook in reply.hooks)
            after = reply.cursor
            if not after:
                break
        self._version = version
        return found

    def _on_message(self, message: Message) -> None:
        if message.reply.startswith("$JS.ACK."):
            consumer = next((one for one in message.reply.split(".") if one.startswith(HOOK_CONSUMER)), "")
            running = self._deliveries.get(consumer.removeprefix(HOOK_CONSUMER))
            if running is not None:
                running[0].on_message(message)
            return
        running = self._deliveries.get(message.subject.rpartition(".")[2])
        if running is not None:
            running[0].on_end()
