"""Owns the requests: what comes in on `ledger.<verb>`, who does it, and its reply."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from ledger.commits.commands import Command, Write
from ledger.commits.writer import Writer
from ledger.store.base import StoreError
from ledger.telemetry import Telemetry
from ledger.verbs import ANSWERS
from ledger.verbs.base import Acts, Answer, Read, Renewal, Services
from runtime.bus.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.bus.subjects import LEDGER_QUEUE, LEDGERS
from schemas.verbs.base import Rows, encode

READS_GRACE_S = 3.0  # at a stop
READS_MAX = 256  # that run at once; beyond it they are turned away
Take = Callable[[Any, str], None]  # a request, and where its reply goes
_logger = get_logger("ledger.requests")


class Requests:
    """Answers requests: writes go to the writer, reads run beside it."""

    def __init__(self, bus: Bus, writer: Writer, services: Services, telemetry: Telemetry) -> None:
        self._bus = bus
        self._writer = writer
        self._services = services
        self._telemetry = telemetry
        self._reads: set[asyncio.Task[None]] = set()
        self._closed = False
        self._verbs: dict[str, tuple[Callable[[bytes], Any], Take]] = {
            one.verb.subject: (one.verb.form_decoder.decode, self._taker(one)) for one in ANSWERS
        }

    async def listen(self) -> Callable[[], Awaitable[None]]:
        """Starts to answer; returns what stops it: no more come then, and those on their way are still taken."""
        subscription = await self._bus.subscribe(LEDGERS, self.on_message, LEDGER_QUEUE)

        async def stop() -> None:
            await subscription.leave()
            if self._reads:
                await asyncio.wait(self._reads, timeout=READS_GRACE_S)

        return stop

    async def close(self) -> None:
        """Breaks off what is still read, and begins nothing more: whoever asked for it asks another ledger."""
        self._closed = True
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    def on_message(self, message: Message) -> None:
        """Takes one request. What cannot be read gets no answer: its sender speaks another version."""
        if not message.reply.startswith("_INBOX."):
            return
        try:
            decode, take = self._verbs[message.subject]
            request = decode(message.data)
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _logger.warning("a request cannot be read", subject=message.subject, error=str(error)[:200])
            return
        take(request, message.reply)

    def _taker(self, one: Answer) -> Take:
        """How requests of a verb are taken."""
        match one:
            case Write():
                return lambda request, reply: self._writer.submit(
                    Command(one, request), lambda answer: self._reply(reply, answer)
                )
            case Acts():
                return lambda request, reply: self._act(one, request, reply)
            case Renewal():
                return lambda request, reply: self._writer.renew(
                    request, lambda answer: self._reply(reply, answer)
                )
            case Read():
                return lambda request, reply: self._start(one, request, reply)

    def _act(self, one: Acts[Any], request: Any, reply: str) -> None:
        proving = None if one.proving is None else one.proving(self._services, request)
        if proving is None:
            self._do(one.command(request), reply)
        else:
            self._begin(self._prove(one, proving, reply))

    def _do(self, made: Command | Rows, reply: str) -> None:
        if isinstance(made, Command):
            self._writer.submit(made, lambda answer: self._reply(reply, answer))
        else:
            self._reply(reply, made)

    def _start(self, one: Read[Any, Any], request: Any, reply: str) -> None:
        self._begin(self._read(one, request, reply))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        if len(self._reads) >= READS_MAX:
            self._telemetry.turned_away.inc()
            work.close()
            return
        task = asyncio.ensure_future(work)
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _read(self, one: Read[Any, Any], request: Any, reply: str) -> None:
        try:
            self._reply(reply, await one.answer(self._services, request))
        except StoreError as error:
            _logger.warning("the database does not answer", verb=one.verb.name, error=str(error))
        except Exception:
            _logger.exception("a request failed", verb=one.verb.name)

    async def _prove(self, one: Acts[Any], proving: Coroutine[Any, Any, Command | Rows], reply: str) -> None:
        try:
            self._do(await proving, reply)
        except Exception:
            _logger.exception("a request failed", verb=one.verb.name)

    def _reply(self, reply: str, answer: Any) -> None:
        self._send(reply, encode(answer))

    def _send(self, reply: str, data: bytes) -> None:
        try:
            self._bus.publish(reply, data)
        except BusError as error:
            # Asking again is safe for every verb.
            _logger.info("a reply was lost", error=str(error))
