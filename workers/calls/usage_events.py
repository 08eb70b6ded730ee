"""Owns usage events on their way into the stream, grouped, retried until they are acknowledged."""

import asyncio
import time
from collections import deque

from runtime.bus.bus import Bus, BusError, PayloadTooLarge
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.usage import EVENTS_PER_MESSAGE_MAX, VERSION, UsageBatch, UsageEvent, encode_batch

ACK_WAIT_S = 10.0  # how long a caller waits for its bill to be durable
EVENTS_WAITING_MAX = 4096  # beyond this no further jobs are taken
PUBLISH_TIMEOUT_S = 5.0
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0

_logger = get_logger("workers.usage_events")


class UsagePublisher:
    """Publishes the usage events of one pool. Whatever comes up during a publish goes in the next message.

    A message is sent again, unchanged and under the same id, until it is acknowledged: the stream drops duplicates,
    and the ledger bills a request and attempt once.
    """

    def __init__(self, bus: Bus, pool: str, worker_id: str) -> None:
        self.bus = bus
        self._subject = subjects.usage(pool)
        self.worker_id = worker_id
        self._waiting: deque[tuple[UsageEvent, asyncio.Future[bool], float]] = deque()
        self._sending: list[tuple[UsageEvent, asyncio.Future[bool], float]] = []
        self._messages = 0
        self._size = EVENTS_PER_MESSAGE_MAX  # of the next message; less after one that was too large
        self._task: asyncio.Task[None] | None = None
        self.events_acked = 0
        self.messages_acked = 0

    @property
    def unacked(self) -> int:
        """Events that are not durable yet."""
        return len(self._waiting) + len(self._sending)

    @property
    def full(self) -> bool:
        """Whether so many events wait that no further jobs should be taken."""
        return self.unacked >= EVENTS_WAITING_MAX

    def request_ids(self) -> list[str]:
        """The calls whose events are not durable yet: their holds must not expire meanwhile."""
        return [event.request_id for event, _, _ in (*self._sending, *self._waiting)]

    def submit(self, event: UsageEvent) -> asyncio.Future[bool]:
        """Queues an event. The future tells whether it was durable within ACK_WAIT_S; it is retried in any case."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future, time.monotonic() + ACK_WAIT_S))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._publish_all(), name="usage events")
        return future

    def tick(self, now: float) -> None:
        """Tells the calls that have waited for too long; to be called several times a second."""
        for entries in (self._sending, self._waiting):
            for _, future, deadline in entries:
                if deadline > now:
                    break
                if not future.done():
                    future.set_result(False)

    async def drain(self, timeout_s: float) -> int:
        """Waits until every event is acknowledged, at most so long. The number that is not."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=timeout_s)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])
        return self.unacked

    async def _publish_all(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), self._size)
            self._sending = [self._waiting.popleft() for _ in range(size)]
            self._messages += 1
            # A worker has a publisher a pool, all in one stream: the subject keeps their numbers apart.
            if not await self._publish(f"{self._subject}.{self.worker_id}.{self._messages}"):
                self._split()
                continue
            self._size = min(self._size * 2, EVENTS_PER_MESSAGE_MAX)
            for _, future, _ in self._sending:
                if not future.done():
                    future.set_result(True)
            self.events_acked += size
            self.messages_acked += 1
            self._sending = []

    def _split(self) -> None:
        # What can never be sent must not hold up the bills of every other call.
        if len(self._sending) > 1:
            self._size = len(self._sending) // 2
            self._waiting.extendleft(reversed(self._sending))
        else:
            event, future, _ = self._sending[0]
            _logger.error("a usage event cannot be sent, and is lost", request_id=event.request_id)
            if not future.done():
                future.set_result(False)
        self._sending = []

    async def _publish(self, msg_id: str) -> bool:
        """False if these events can never be sent in one message."""
        try:
            data = encode_batch(UsageBatch(VERSION, tuple(event for event, _, _ in self._sending)))
        except Exception:
            _logger.exception("usage events cannot be encoded")
            return False
        pause_s = RETRY_MIN_S
        while True:
            try:
                await self.bus.js_publish(self._subject, data, msg_id, PUBLISH_TIMEOUT_S)
            except PayloadTooLarge:
                return False
            except Exception as error:  # any error: an event dropped here is a call that nobody pays for
                if not isinstance(error, BusError):
                    _logger.exception("publishing usage events failed")
                _logger.warning(
                    "usage events not acknowledged", error=type(error).__name__, unacked=self.unacked
                )
            else:
                return True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)
