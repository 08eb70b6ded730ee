"""Owns the deliveries to one endpoint: taken from its consumer, sent, noted in the books, and only then acknowledged."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from console.hooks.address import Lookup, Refused, looked_up, target_of
from console.hooks.needs import Ledger, Line
from console.hooks.retries import Retries
from console.hooks.sending import Answer, post
from console.hooks.signing import headers
from runtime.bus.bus import BusError, Message
from runtime.bus.streams import ACK, NANO, delivered, later
from runtime.ledger import Patience
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import new_id
from schemas.events import Event, decode_event
from schemas.verbs.base import VERSION
from schemas.verbs.hooks import (
    HOOK_DISABLE,
    HOOK_LOG,
    RESPONSE_CHARS_MAX,
    Attempt,
    Hook,
    HookDisable,
    HookLog,
    Outcome,
)

IN_FLIGHT_MAX: Final = 16  # deliveries to one endpoint at once, of one dispatcher
SENDING_MAX: Final = 256  # to all of them
PULL_EXPIRES_S: Final = 20.0
AWAY_S: Final = 1.0  # before an endpoint's consumer that is not there is asked again
WORKING_S: Final = 20.0  # so often the server hears that a delivery is still under way
LOG_PATIENCE: Final = Patience(total_s=300.0, try_s=5.0, pause_s=1.0)
GONE: Final = 410
_WORKING: Final = b"+WPI"
_encode = msgspec.json.Encoder().encode
_logger = get_logger("console.hooks")


class Ways(Struct, frozen=True, kw_only=True, eq=False):
    """What all endpoints of a dispatcher share."""

    line: Line
    ledger: Ledger
    tls: Callable[[], ssl.SSLContext]  # made by the first delivery: the authorities take megabytes
    sending: asyncio.Semaphore
    allow_private: bool = False
    retries: Retries = Retries()
    lookup: Lookup = looked_up


class Deliveries:
    """One endpoint's. `hook` may be replaced while it runs."""

    def __init__(self, hook: Hook, ways: Ways, inbox: str) -> None:
        self.hook = hook
        self._ways = ways
        self._inbox = inbox
        self._asked = 0  # messages that the open pull may still bring
        self._asked_until = 0.0
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Asks for messages until it is over."""
        while not self._over:
            self._pull()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._asked_until - time.monotonic(), 0.05)):
                    await self._wake.wait()
            if time.monotonic() >= self._asked_until:
                self._asked = 0

    def _pull(self) -> None:
        room = IN_FLIGHT_MAX - len(self._running)
        if self._asked or not room:
            return
        body = _encode({"batch": room, "expires": int(PULL_EXPIRES_S * NANO)})
        try:
            self._ways.line.publish(subjects.next_hooks(self.hook.id), body, self._inbox)
        except BusError:
            self._asked_until = time.monotonic() + AWAY_S
            return
        self._asked = room
        self._asked_until = time.monotonic() + PULL_EXPIRES_S + 1.0

    def on_end(self) -> None:
        """Takes the server's word that the open pull brings nothing more, or that there is no consumer."""
        self._asked_until = min(self._asked_until, time.monotonic() + AWAY_S)
        self._wake.set()

    def on_message(self, message: Message) -> None:
        """Takes one event."""
        if self._over:
            return  # somebody else gets it
        self._asked = max(self._asked - 1, 0)
        task = asyncio.create_task(self._deliver(message), name=f"webhook {self.hook.id}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a delivery failed by itself", endpoint=self.hook.id, exc_info=error)

    async def end(self, grace_s: float = 0.0) -> None:
        """Takes no more; what is under way has so much time, and comes again elsewhere if that is not enough."""
        self._over = True
        self._wake.set()
        running = set(self._running)
        if running and grace_s:
            _, running = await asyncio.wait(running, timeout=grace_s)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _deliver(self, message: Message) -> None:
        with self._kept(message.reply):
            word = await self._handled(message)
        if word is not None:
            self._answer(message.reply, word)

    async def _handled(self, message: Message) -> bytes | None:
        """The word for one message; None leaves it for another time."""
        hook, found = self.hook, delivered(message.reply)
        try:
            event = decode_event(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _logger.warning("an event cannot be read", endpoint=hook.id, error=str(error))
            return ACK
        if found is None or not _is_for(hook, event, message.subject):
            return ACK
        begun = time.monotonic()
        answer = await self._sent(hook, event)
        delay_s = None
        if not answer.accepted and answer.code != GONE:
            delay_s = self._ways.retries.delay_s(found.times, answer.retry_after_s)
        outcome = Outcome.SUCCEEDED if answer.accepted else Outcome.RETRYING if delay_s else Outcome.FAILED
        attempt = Attempt(
            id=new_id("dlv_"),
            endpoint=hook.id,
            event=event.id,
            type=event.type,
            attempt=found.times,
            outcome=outcome,
            code=answer.code,
            ms=int((time.monotonic() - begun) * 1000),
            response=answer.response[:RESPONSE_CHARS_MAX],
            error=answer.error[:RESPONSE_CHARS_MAX],
            retry_ms=int((delay_s or 0) * 1000),
        )
        if not await self._noted(attempt, gone=answer.code == GONE):
            return None
        return later(delay_s) if delay_s else ACK

    async def _sent(self, hook: Hook, event: Event) -> Answer:
        if not hook.secrets:
            return Answer(error="its secret cannot be opened: rotate it")
        async with self._ways.sending:
            try:
                target = await target_of(
                    hook.url, allow_private=self._ways.allow_private, lookup=self._ways.lookup
                )
            except Refused as refused:
                return Answer(error=f"refused: {refused}")
            except (OSError, ValueError) as error:
                return Answer(error=f"its name cannot be resolved: {error}")
            signed = headers(hook.secrets, event.id, int(time.time()), event.body)
            return await post(target, signed, event.body, self._ways.tls())

    async def _noted(self, attempt: Attempt, *, gone: bool) -> bool:
        """Notes an attempt, and disables the endpoint where that is due. False if no ledger can be reached."""
        ledger = self._ways.ledger
        try:
            reply = await ledger.ask(HOOK_LOG, HookLog(VERSION, (attempt,)), patience=LOG_PATIENCE)
            overdue = any(row["overdue"] for row in reply.rows)
            if gone or overdue:
                why = "it answered 410: it is gone" if gone else "five days without a success"
                self._over = True
                _logger.warning("a webhook endpoint is disabled", endpoint=self.hook.id, reason=why)
                request = HookDisable(VERSION, self.hook.id, why)
                await ledger.ask(HOOK_DISABLE, request, patience=LOG_PATIENCE)
        except (BusError, msgspec.MsgspecError) as error:
            _logger.warning("a delivery could not be noted: it comes again", error=str(error))
            return False
        return True

    @contextlib.contextmanager
    def _kept(self, reply: str) -> Iterator[None]:
        """Says all the while that a message is being worked on."""
        working = asyncio.create_task(self._say_working(reply))
        try:
            yield
        finally:
            working.cancel()

    async def _say_working(self, reply: str) -> None:
        while True:
            await asyncio.sleep(WORKING_S)
            self._answer(reply, _WORKING)

    def _answer(self, reply: str, word: bytes) -> None:
        try:
            self._ways.line.publish(reply, word)
        except BusError as error:
            _logger.info("an acknowledgement was lost: its event comes again", error=str(error))


def _is_for(hook: Hook, event: Event, subject: str) -> bool:
    """Whether an endpoint gets an event: it is of its organisation, and is not of before its time unless it was asked for."""
    if hook.organization and event.organization != hook.organization:
        return False
    return subject == subjects.hook(hook.id) or event.created_ms >= hook.since_ms
