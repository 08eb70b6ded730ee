"""Owns all calls of one edge: frames in, jobs and control out, the tick that every deadline hangs on, and leases."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from edge import telemetry
from edge.calls.call import Call
from edge.calls.host import Settle, State
from edge.calls.roster import Roster
from edge.http.intake import Budget
from edge.limits import Limits
from runtime.bus.bus import Bus, BusDown, BusError, BusFull, Message, NoResponders, Subscription
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.bus import frames, subjects
from schemas.bus.frames import FRAME_BYTES_MAX, Accept, Bounce, Cancel, Credit, Job, Part, Probe
from schemas.errors import WireError
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.base import VERSION
from schemas.verbs.calls import (
    ESTIMATE,
    REATTEMPT,
    RELEASE,
    RENEW,
    RENEW_INTERVAL_S,
    Estimate,
    Hold,
    Reattempt,
    Release,
    Renew,
)

RENEWED_MAX = 1000  # leases in one request
PARTS_IN_FLIGHT_MAX = 4  # pieces of one request body that its worker has not taken yet
ERRANDS_MAX = 8192  # requests to the ledger and probes under way
CALLS_MAX = 20_000  # those whose callers have left included
CANCELLED_MAX = 4096  # stale attempts that are remembered as told to stop
CANCEL_AGAIN_S = 1.0
PARTS_TIMEOUT_S = 10.0
TELL_PAUSE_MAX_S = (
    2.0  # between two tellings, to a ledger that cannot write: a lease may overtake what waits longer
)
REFUND_PAUSE_MAX_S = 30.0  # the same of what no lease can overtake

_logger = get_logger("edge.relay")


class Relay:
    """Runs the calls of one edge."""

    def __init__(
        self, bus: Bus, ledger: LedgerClient, roster: Roster, budget: Budget, limits: Limits
    ) -> None:
        self.edge_id = subjects.new_id("edge-")
        self._bus = bus
        self._ledger = ledger
        self._roster = roster
        self._budget = budget
        self._limits = limits
        self._calls: dict[str, Call] = {}
        self._parked: dict[str, deque[Call]] = {}
        self._cancelled: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._errands: set[asyncio.Task[None]] = set()
        self._refunds: set[asyncio.Task[None]] = set()  # those that no lease makes up for
        self._closing = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None  # after a ledger that is away
        self._probed: set[str] = set()
        self._echoes: dict[tuple[str, int], asyncio.Future[bool]] = {}
        self._renew_at = 0.0
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Subscribes to this edge's frames and to all beats."""
        self._subscriptions.append(
            await self._bus.subscribe(subjects.frames_all(self.edge_id), self.on_frame)
        )
        self._subscriptions.append(await self._bus.subscribe(subjects.BEATS, self.on_beat))
        self._bus.on_reconnect(self._on_reconnect)

    def __len__(self) -> int:
        return len(self._calls)

    def start(self, job: Job, hold: Hold) -> Call:
        """Offers a call to its pool."""
        body = job.body
        large = len(body) > FRAME_BYTES_MAX
        if large:
            parts = -(-len(body) // FRAME_BYTES_MAX)
            job = msgspec.structs.replace(job, body=b"", parts=parts)
        call = Call(self, self._limits, job, hold)
        if large:
            call.parts_body = body
        self._calls[call.request_id] = call
        call.offer()
        return call

    # Messages.

    def on_frame(self, message: Message) -> None:
        """A frame of some call's attempt, or word that nobody heard its job."""
        parsed = subjects.parse_frames(message.subject)
        if parsed is None:
            return
        request_id, attempt = parsed
        call = self._calls.get(request_id)
        current = call if call is not None and call.attempt == attempt else None
        if message.no_responders:
            if current is not None:
                current.on_no_responders()
            return
        if not message.data:
            echo = self._echoes.get(parsed)
            if echo is not None and not echo.done():
                echo.set_result(True)
            return
        try:
            frame = frames.decode_frame(message.data)
        except msgspec.MsgspecError:
            _logger.warning("a frame that cannot be read", request_id=request_id)
            return
        if current is not None:
            current.on_frame(frame, time.monotonic())
        elif not isinstance(frame, Bounce):
            worker_id = frame.worker_id if isinstance(frame, Accept) else subjects.controlled(message.reply)
            self._stale(worker_id, request_id, attempt)

    def _stale(self, worker_id: str, request_id: str, attempt: int) -> None:
        """Frames of an attempt that has ended here, or was replaced: its worker is told to stop, now and then."""
        telemetry.STALE_FRAMES.inc()
        now = time.monotonic()
        told = self._cancelled.get((request_id, attempt), 0.0)
        if now - told < CANCEL_AGAIN_S or not subjects.is_token(worker_id):
            return
        self.cancel(worker_id, request_id, attempt)

    def on_beat(self, message: Message) -> None:
        """A worker's beat: calls that wait for room are offered to it."""
        try:
            beat = frames.decode_beat(message.data)
        except msgspec.MsgspecError:
            _logger.warning("a beat that cannot be read", subject=message.subject)
            return
        room = self._roster.hear(beat, time.monotonic())
        if room and beat.pool in self._parked:
            self._unpark(beat.pool, room)

    def _on_reconnect(self) -> None:
        for call in list(self._calls.values()):
            call.on_reconnect()

    # What calls ask for (edge.host.Host).

    @property
    def connected(self) -> bool:
        """Whether NATS can be spoken to."""
        return self._bus.connected

    @property
    def connected_since(self) -> float:
        """Monotonic time of the last (re)connect."""
        return self._bus.connected_since

    def publish_job(self, call: Call, job: Job) -> bool:
        """Offers a job to the pool; False while NATS is away or backed up."""
        try:
            inbox = subjects.frames(self.edge_id, call.request_id, call.attempt)
            self._bus.publish(subjects.pool(call.pool), frames.encode(job), inbox)
        except BusError:
            return False
        return True

    def cancel(self, worker_id: str, request_id: str, attempt: int) -> None:
        """Tells a worker to stop an attempt."""
        self._cancelled[request_id, attempt] = time.monotonic()
        self._cancelled.move_to_end((request_id, attempt))
        if len(self._cancelled) > CANCELLED_MAX:
            self._cancelled.popitem(last=False)
        self._control(worker_id, Cancel(request_id, attempt))

    def credit(self, worker_id: str, request_id: str, attempt: int, through: int) -> None:
        """Tells a worker what has been consumed."""
        self._control(worker_id, Credit(request_id, attempt, through))

    def _control(self, worker_id: str, message: Cancel | Credit) -> None:
        try:
            self._bus.publish(subjects.control(worker_id), frames.encode(message))
        except BusError:
            return  # repeated at a later tick, or after the reconnect

    def send_parts(self, call: Call) -> None:
        """Sends a large body to the worker that has accepted."""
        self._errand(self._send_parts(call, call.worker_id, call.attempt, call.parts_body))

    async def _send_parts(self, call: Call, worker_id: str, attempt: int, body: bytes) -> None:
        subject = subjects.control(worker_id)
        for index, start in enumerate(range(0, len(body), FRAME_BYTES_MAX)):
            if index and index % PARTS_IN_FLIGHT_MAX == 0 and not await self._echo(call, worker_id, attempt):
                return
            part = frames.encode(Part(call.request_id, attempt, index, body[start : start + FRAME_BYTES_MAX]))
            while not (call.left or call.ended) and call.attempt == attempt:
                try:
                    self._bus.publish(subject, part)
                    break
                except BusFull:
                    await self._bus.room(PARTS_TIMEOUT_S)
                except BusDown:
                    return  # all of them are sent again after the reconnect

    async def _echo(self, call: Call, worker_id: str, attempt: int) -> bool:
        """Waits until the worker has taken the parts sent so far: nats-server cuts a reader that falls far behind.

        The answer to a probe comes after all that was sent before it. False if none comes in time.
        """
        name = (call.request_id, attempt)
        echo: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if (older := self._echoes.get(name)) is not None and not older.done():
            older.set_result(False)  # the body is sent again, from its first part
        self._echoes[name] = echo
        try:
            async with asyncio.timeout(PARTS_TIMEOUT_S):
                await self._bus.room(PARTS_TIMEOUT_S)
                inbox = subjects.frames(self.edge_id, call.request_id, attempt)
                self._bus.publish(subjects.control(worker_id), frames.encode(Probe()), inbox)
                return await echo
        except TimeoutError:
            return False  # the worker gives the body up, and says so
        finally:
            if self._echoes.get(name) is echo:
                del self._echoes[name]

    def park(self, call: Call) -> None:
        """Has the call offered again when a worker of its pool has room."""
        self._parked.setdefault(call.pool, deque()).append(call)

    def _unpark(self, pool: str, room: int) -> None:
        queue = self._parked.get(pool, deque())
        for _ in range(min(room, len(queue))):
            queue.popleft().offer_again()
        if not queue:
            self._parked.pop(pool, None)

    def serves(self, pool: str, model: str) -> bool:
        """Whether a worker of the pool can serve the model; unknown counts as yes."""
        return self._roster.silent(pool) or self._roster.serves(pool, model)

    def deserted(self, pool: str) -> bool:
        """Whether it is certain that a pool has no worker."""
        return (
            self._roster.silent(pool)
            and self.connected
            and time.monotonic() - self.connected_since >= self._limits.settled_s
        )

    def reserve(self, count: int) -> bool:
        """Takes bytes from what all callers may have in memory."""
        return self._budget.take(count)

    def may_follow(self) -> bool:
        """Whether there is room for one more call whose caller has left."""
        return len(self._calls) < CALLS_MAX

    def heard(self, worker_id: str) -> bool:
        """Whether a worker's beat is not overdue."""
        return time.monotonic() - self._roster.last_heard(worker_id) <= self._limits.overdue_s

    def reattempt(self, call: Call, replaced: TokenUsage) -> None:
        """Asks the ledger for the next attempt."""
        telemetry.ATTEMPTS.labels("reattempt").inc()
        self._errand(self._reattempt(call, replaced))

    async def _reattempt(self, call: Call, replaced: TokenUsage) -> None:
        message = Reattempt(VERSION, call.request_id, call.hold.token, call.attempt + 1, replaced)
        try:
            done = await self._ledger.ask(REATTEMPT, message)
        except LedgerAwayError:
            call.on_reattempt(None)
        else:
            call.on_reattempt(done.ok)

    def settle(self, call: Call, how: Settle) -> None:
        """Takes an ended call off the list, and tells the books what its end means."""
        self._calls.pop(call.request_id, None)
        if how is Settle.RELEASE:
            release = Release(VERSION, call.request_id, call.hold.token)
            self._errand(self._tell(lambda: self._ledger.ask(RELEASE, release), self._limits.settle_s))
        elif how is not Settle.WORKER:
            self._estimate(call, failed=how is Settle.FAIL)

    def _estimate(self, call: Call, *, failed: bool) -> None:
        now = time.monotonic()
        message = Estimate(
            VERSION,
            call.request_id,
            call.hold.token,
            call.attempt,
            call.estimate() if call.worker_id else NO_USAGE,
            failed,
            int((call.first_data - call.created) * 1000) if call.first_data else 0,
            int((now - call.created) * 1000),
        )
        # From here on nothing of the call is kept but this message, however long the ledger is away.
        if failed:
            telling = self._tell(
                lambda: self._ledger.ask(ESTIMATE, message), self._limits.refund_s, REFUND_PAUSE_MAX_S
            )
            self._errand(telling, self._refunds)
        else:
            self._errand(self._tell(lambda: self._ledger.ask(ESTIMATE, message), self._limits.settle_s))

    async def _tell(
        self, ask: Callable[[], Awaitable[object]], for_s: float, pause_max_s: float = TELL_PAUSE_MAX_S
    ) -> None:
        # No caller waits for this, and the ledger may be away for longer than a caller would.
        pause_s = self._limits.ledger_ask_s
        try:
            async with asyncio.timeout(for_s):
                while True:
                    try:
                        await ask()
                    except LedgerAwayError:
                        await self._ledger_back()
                        # It may be there and unable to write: a full disk, a lock.
                        await self._pause(pause_s)
                        pause_s = min(2 * pause_s, pause_max_s)
                    else:
                        return
        except TimeoutError:
            raise LedgerAwayError("it was away for too long") from None

    async def _pause(self, pause_s: float) -> None:
        """Waits, but not while the edge stops: then everything is told at once."""
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _ledger_back(self) -> None:
        """Waits for a ledger that is away: one asks after it, however many wait."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_after_ledger())
        await asyncio.shield(self._asking)

    async def _ask_after_ledger(self) -> None:
        while not await self._ledger.answers(self._limits.ledger_try_s):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(self._limits.ledger_ask_s)

    # Time.

    def tick(self, now: float) -> None:
        """Compares every deadline with the clock; called each `tick_s`."""
        self._roster.sweep(now)
        suspects: set[str] = set()
        for call in list(self._calls.values()):
            call.tick(now)
            if call.worker_id and call.worker_id not in suspects and self._suspect(call, now):
                suspects.add(call.worker_id)
        for worker_id in suspects - self._probed:
            self._probed.add(worker_id)
            self._errand(self._probe(worker_id))
        for pool, queue in list(self._parked.items()):
            self._parked[pool] = deque(call for call in queue if call.state is State.WAITING)
            # Beats normally do this; a lost one must not leave calls waiting.
            self._unpark(pool, 1)
        if self._calls and now >= self._renew_at:
            self._renew_at = now + RENEW_INTERVAL_S
            self._errand(self._renew())

    def _suspect(self, call: Call, now: float) -> bool:
        if not self.connected:
            return False
        heard = max(self._roster.last_heard(call.worker_id), self.connected_since, call.accepted)
        return now - heard > self._limits.overdue_s

    async def _probe(self, worker_id: str) -> None:
        """Two probes without anyone there, and the worker is dead."""
        try:
            if not await self._nobody_at(worker_id):
                return
            await asyncio.sleep(self._limits.probe_gap_s)
            if not await self._nobody_at(worker_id):
                return
            dead = [call for call in self._calls.values() if call.worker_id == worker_id]
            _logger.warning("a worker has died", worker_id=worker_id, calls=len(dead))
            telemetry.WORKER_DEATHS.inc()
            for call in dead:
                call.worker_died()
        finally:
            self._probed.discard(worker_id)

    async def _nobody_at(self, worker_id: str) -> bool:
        try:
            await self._bus.request(
                subjects.control(worker_id), frames.encode(Probe()), self._limits.probe_gap_s
            )
        except NoResponders:
            return True
        except BusError:
            return False
        return False

    async def _renew(self) -> None:
        ids = list(self._calls)
        try:
            for start in range(0, len(ids), RENEWED_MAX):
                await self._ledger.ask(RENEW, Renew(VERSION, tuple(ids[start : start + RENEWED_MAX])))
        except LedgerAwayError:
            self._renew_at = 0.0  # at the next tick

    # Errands: what has to wait for an answer. Calls themselves never do.

    def _errand(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]] | None = None) -> None:
        if len(self._errands) + len(self._refunds) >= ERRANDS_MAX:
            work.close()
            _logger.error("too many requests to the ledger are under way; one is dropped")
            return
        task = asyncio.get_running_loop().create_task(work)
        (self._errands if among is None else among).add(task)
        task.add_done_callback(self._errand_done)

    def _errand_done(self, task: asyncio.Task[None]) -> None:
        refund = task in self._refunds
        self._errands.discard(task)
        self._refunds.discard(task)
        if task.cancelled():
            if refund:
                _logger.error("the edge stops before the books were told that a caller saw its call fail")
            return
        error = task.exception()
        if isinstance(error, LedgerAwayError | BusError):
            _logger.warning("the books were not told how a call ended", error=str(error))
        elif error is not None:
            _logger.error("an errand failed", exc_info=error)

    def end_all(self, error: WireError) -> None:
        """Ends every call for its caller: the edge stops."""
        for call in list(self._calls.values()):
            call.end_now(error)

    async def close(self, timeout_s: float, refunds_timeout_s: float) -> None:
        """Finishes errands, at most so long each kind, then leaves the bus."""
        self._closing.set()
        for errands, wait_s in ((self._refunds, refunds_timeout_s), (self._errands, timeout_s)):
            if errands:
                await asyncio.wait(set(errands), timeout=wait_s)
        for task in self._errands | self._refunds:
            task.cancel()
        if self._asking is not None:
            self._asking.cancel()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
