"""Owns what has to wait for an answer of the ledger or of a worker: calls never do, so tasks of their own wait for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from edge import telemetry
from edge.calls.host import CallView, Settle
from edge.limits import Limits
from runtime.bus.bus import BusError
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.money.pricing import TokenUsage
from schemas.verbs.base import VERSION
from schemas.verbs.calls import ESTIMATE, REATTEMPT, RELEASE, Estimate, Reattempt, Release

ERRANDS_MAX = 8192  # requests to the ledger and probes under way
# Longest back-off. It must stay below the grace period, or the hold expires before our estimate arrives.
TELL_PAUSE_MAX_S = 2.0
REFUND_PAUSE_MAX_S = 30.0  # longest back-off of a refund: no lease runs against it

_logger = get_logger("edge.errands")


class Errands:
    """The tasks of one edge that tell the ledger how calls stand, patient with a ledger that is away."""

    def __init__(self, ledger: LedgerClient, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._errands: set[asyncio.Task[None]] = set()
        self._refunds: set[asyncio.Task[None]] = set()  # those that no lease makes up for
        self._closing = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None  # after a ledger that is away

    def reattempt(self, call: CallView, replaced: TokenUsage, candidate: int) -> None:
        """Asks for the next attempt of a call, of the candidate at a place, then tells the call."""
        telemetry.AGAIN["reattempt" if candidate == call.candidate else "candidate"].inc()
        self.start(self._reattempt(call, replaced, candidate))

    async def _reattempt(self, call: CallView, replaced: TokenUsage, candidate: int) -> None:
        message = Reattempt(
            v=VERSION,
            request_id=call.request_id,
            token=call.hold.token,
            attempt=call.current.number + 1,
            replaced=replaced,
            candidate=candidate,
        )
        try:
            done = await self._ledger.ask(REATTEMPT, message)
        except LedgerAwayError:
            call.on_reattempt(None)
        else:
            call.on_reattempt(done.ok)

    def settle(self, call: CallView, how: Settle) -> None:
        """Tells the books what the end of a call means."""
        if how is Settle.RELEASE:
            release = Release(VERSION, call.request_id, call.hold.token)
            self.start(self._tell(lambda: self._ledger.ask(RELEASE, release), self._limits.settle_s))
        elif how is not Settle.WORKER:
            self._estimate(call, failed=how is Settle.FAIL)

    def _estimate(self, call: CallView, *, failed: bool) -> None:
        first_s = 0.0 if call.first_data is None else call.first_data - call.created
        message = Estimate(
            v=VERSION,
            request_id=call.request_id,
            token=call.hold.token,
            attempt=call.current.number,
            usage=call.estimate(),
            failed=failed,
            first_byte_ms=int(first_s * 1000),
            duration_ms=int((time.monotonic() - call.created) * 1000),
            candidate=call.candidate,
        )
        # Keep only the message: a ledger may be down for hours, and a call is large.
        if failed:
            telling = self._tell(
                lambda: self._ledger.ask(ESTIMATE, message), self._limits.refund_s, REFUND_PAUSE_MAX_S
            )
            self._start(telling, self._refunds)
        else:
            self.start(self._tell(lambda: self._ledger.ask(ESTIMATE, message), self._limits.settle_s))

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
        """Sleeps between retries. Returns at once when the edge stops, so that everything is sent before the exit."""
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _ledger_back(self) -> None:
        """Waits until a ledger answers. All waiters share one pinging task."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_after_ledger())
        await asyncio.shield(self._asking)

    async def _ask_after_ledger(self) -> None:
        while not await self._ledger.answers(self._limits.ledger_try_s):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(self._limits.ledger_ask_s)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs one errand; what it raises is logged. Drops it, with a log line, if too many are under way."""
        self._start(work, self._errands)

    def _start(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        if len(self._errands) + len(self._refunds) >= ERRANDS_MAX:
            work.close()
            _logger.error("too many requests to the ledger are under way; one is dropped")
            return
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
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

    async def close(self, timeout_s: float, refunds_timeout_s: float) -> None:
        """Finishes what is under way, at most so long each kind, and gives the rest up."""
        self._closing.set()
        for errands, wait_s in ((self._refunds, refunds_timeout_s), (self._errands, timeout_s)):
            if errands:
                await asyncio.wait(set(errands), timeout=wait_s)
        for task in self._errands | self._refunds:
            task.cancel()
        if self._asking is not None:
            self._asking.cancel()
