"""Owns the life of one accepted attempt: from its accept, over tries at accounts, to its bill and its last frame."""

import asyncio
import time
from collections.abc import Sequence
from enum import StrEnum

from msgspec import structs

from runtime.log import get_logger
from schemas.bus.frames import Job
from schemas.errors import (
    WireError,
    internal,
    model_not_found,
    unavailable,
    upstream_timeout,
)
from workers.calls import items, refusals, thoughts, told
from workers.calls.accounts import Account
from workers.calls.delivery import Delivery
from workers.calls.frames import FrameWriter
from workers.calls.leaving import Leaving
from workers.calls.parts import Parts, PartsError
from workers.calls.renewing import renewed
from workers.calls.serving import Serving
from workers.calls.settling import Settling
from workers.calls.stops import UNWANTED, Stop
from workers.calls.together import together
from workers.calls.tries import HUNG_UP, Tries
from workers.providers.base import (
    AccountError,
    Action,
    Companionable,
    Exchange,
    Fault,
    Forgetful,
    RefusedError,
)
from workers.providers.words import NOTHING
from workers.upstream.request import UpstreamRequest

TRIES_MAX = 3  # at upstreams, for one exchange

_logger = get_logger("workers.call")


_STOP_ERRORS = {
    Stop.TIMEOUT: upstream_timeout(),
    Stop.SHUTDOWN: unavailable("The gateway is restarting. Retry with backoff."),
}


class _Phase(StrEnum):
    NEW = "new"
    RUNNING = "running"  # a stop must interrupt the task
    SETTLING = "settling"  # it is too late to stop


class Call:
    """One attempt. `start` runs it as a task; `stop` ends it early; either way exactly one usage event results.

    Its phases:

        NEW ──▶ RUNNING ──────── served, or failed ───────▶ SETTLING ──▶ the task has ended
         │        │  │                                        ▲  ▲
         │        │  └─ stop, or a deadline: interrupted ─────┘  │
         │        └──── the caller has left, and the answer is worth reading on: muted, see `Leaving`
         └── stop before the task has run ───────────────────────┘

    What settling does is in `Settling`.
    """

    def __init__(self, serving: Serving, job: Job, reply: str, account: Account) -> None:
        self.job = job
        self.frames = FrameWriter(serving.bus, reply, serving.control)
        self.parts = Parts(job) if job.parts else None
        self.task: asyncio.Task[None] | None = None
        self._serving = serving
        self._delivery = Delivery(serving, job, self.frames)
        self._tries = Tries(job, serving.factors)
        self._request: UpstreamRequest | None = None  # the newest
        self._first_account: Account | None = account
        self._began = time.monotonic()
        self._settling = Settling(
            serving, job, reply, self.frames, began=self._began, delivery=self._delivery, tries=self._tries
        )
        self._phase = _Phase.NEW
        self._stop: Stop | None = None
        self._whole = job  # with its body, once that is here
        self._leaving: Leaving | None = None  # most callers stay
        self._error: WireError | None = None

    def start(self) -> asyncio.Task[None]:
        """Accepts, and runs the call to its end."""
        self.frames.accept(self._serving.worker_id, self.parts.seal if self.parts is not None else b"")
        self.task = asyncio.create_task(self._run())
        return self.task

    def stop(self, why: Stop) -> None:
        """Ends the call now; or mutes it, where its answer is read on. To leave once more changes nothing."""
        self._settling.left = self._settling.left or why in (Stop.CANCELLED, Stop.REPLACED)
        if self._stop is not None or self._phase is _Phase.SETTLING:
            return
        if why in UNWANTED and self._leave().stays(why, time.monotonic()):
            return
        self._stop = why
        self._interrupt()

    @property
    def _muted(self) -> bool:
        return self._leaving is not None and self._leaving.draining

    def _leave(self) -> Leaving:
        """What becomes of the answer without its caller. A call that is left before its body is here asks for none."""
        if self._leaving is None:
            delivery, frames = self._delivery, self.frames
            self._leaving = Leaving(self._serving, self._whole, delivery, frames, began=self._began)
        return self._leaving

    def tick(self, now: float) -> None:
        """Deadlines and keep-alives; to be called several times a second."""
        self.frames.tick(now)
        if self._phase is not _Phase.RUNNING:
            return
        if self._muted:
            if self._leave().over(now) or self._delivery.overdue(now):
                self._stop = self._stop or Stop.CANCELLED
                self._interrupt()
        elif self.frames.gone:
            self.stop(Stop.EDGE_GONE)
        elif now - self._began >= self.job.deadline_s or self._delivery.overdue(now):
            self.stop(Stop.TIMEOUT)
        elif self.job.stream and self._delivery.asking:
            # An edge whose worker dies knows no more than this.
            self.frames.output_tokens = max(self.frames.output_tokens, self._leave().unseen(now))

    def _interrupt(self) -> None:
        if self.task is not None and self._phase is _Phase.RUNNING:
            self.task.cancel()

    async def _run(self) -> None:
        complete = False
        self._phase = _Phase.RUNNING
        try:
            complete = self._stop is None and await self._serve()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stop is None or task is None:
                raise
            task.uncancel()
        except (RefusedError, PartsError) as error:
            self._error = error.error
        except Exception:
            _logger.exception("a call failed", request_id=self.job.request_id)
            self._error = internal()
        finally:
            self._phase = _Phase.SETTLING
            if self._first_account is not None:
                self._first_account.give_back(self.job.hold_list_nano, time.monotonic())
            if self._leaving is not None:
                self._leaving.ended()
            if not complete:
                self._delivery.hang_up()
        if complete:
            await self._settling.served()
        elif self._muted or self._stop in UNWANTED:
            await self._settling.unwanted(self._request if self._stop is Stop.CANCELLED else None)
        else:
            await self._settling.failed(self._error if self._stop is None else _STOP_ERRORS[self._stop])
        self._delivery.hang_up()

    async def _serve(self) -> bool:
        job, serving = self.job, self._serving
        if self.parts is not None:
            job = structs.replace(job, body=await self.parts.whole())
            self._whole = job
            self._tries.resolved(job)
        model = serving.models.get(job.model)
        if model is None:
            raise RefusedError(model_not_found(job.model))
        if job.references:
            job = await items.resolve(serving.bus, job)
            self._tries.resolved(job)
        wanted = serving.family.thought_ids(job)
        known = await thoughts.fetch(serving.bus, wanted) if wanted else {}
        exchanges = serving.family.open(job, model, known)
        if len(exchanges) > 1 and isinstance(exchanges[0], Companionable):
            return await self._batch(exchanges, exchanges[0].at_once)
        for exchange in exchanges:
            # What is billed anyway is read to its end for a caller who has left; nothing more is asked for.
            if self._muted or not await self._exchange(exchange, len(exchanges), self._delivery):
                return False
            if exchange.thoughts:
                thoughts.store(serving.bus, exchange.thoughts)
        return not self._muted

    async def _batch(self, exchanges: Sequence[Exchange], at_once: int) -> bool:
        """The calls of a split batch, several at a time: all are served, or the first that fails is what the caller sees."""
        first: tuple[WireError | None, bool] | None = None

        async def ask(exchange: Exchange, delivery: Delivery) -> bool | None:
            nonlocal first
            served = await self._exchange(exchange, len(exchanges), delivery)
            if served is False and first is None:
                first = self._error, self._tries.refused
            return served

        served = await together(
            exchanges, self._delivery, ask, at_once=at_once, goes_on=lambda: not self._muted
        )
        if first is not None:
            self._error, self._tries.refused = first
        return served and not self._muted

    async def _exchange(self, exchange: Exchange, exchanges: int, delivery: Delivery) -> bool | None:
        """Whether an exchange was served; None if it has no room beside another of the job's."""
        accounts, job = self._serving.accounts, self.job
        tried: set[str] = set()
        spare = delivery is not self._delivery
        # The parts of a batch share what it may cost: only the first of them has the whole reserved.
        list_nano = job.hold_list_nano // exchanges if spare else job.hold_list_nano
        for _ in range(TRIES_MAX):
            now = time.monotonic()
            account, self._first_account = self._first_account, None
            if account is None:
                account = accounts.pick(job.upstream, job.scope, list_nano, tried, now)
                if account is None and spare and not tried:
                    return None
                if account is None:
                    self._error = self._error or refusals.without_account(self._serving, job, now)
                    return False
                account.take(list_nano)
            tried.add(account.settings.id)
            try:
                fault = await self._try(exchange, account, exchanges, delivery)
            finally:
                account.give_back(list_nano, time.monotonic())
            if fault is None:
                account.succeeded(job.upstream)
                return True
            final = not fault.unbilled or delivery.answered or self._muted
            if fault.thoughts_refused and not final and _forgets_thoughts(exchange):
                self._error = fault.error
                tried.discard(account.settings.id)  # it is as good as any other: the request was at fault
                continue
            account.failed(fault, job.upstream, job.scope, time.monotonic())
            self._error = refusals.after(self._serving, job, fault)
            if fault.action is Action.REFUSED and not final and await renewed(accounts, account):
                tried.discard(account.settings.id)
                continue
            if final or fault.action is Action.STOP:
                return False
        return False

    async def _try(
        self, exchange: Exchange, account: Account, exchanges: int, delivery: Delivery
    ) -> Fault | None:
        try:
            request = exchange.request(account.settings)
        except AccountError as error:
            told.warn(self.job, self._serving.pool, account, (error.fault, NOTHING, 0))
            return error.fault
        self._request = request
        fault: Fault | None = HUNG_UP  # unless told otherwise below
        try:
            fault = await delivery.ask(exchange, request, account)
        finally:
            left, words = self._muted or self._stop in UNWANTED, delivery.words
            unseen = left and fault is HUNG_UP and self._stop is not Stop.REPLACED
            failed = None if fault is HUNG_UP and left else fault
            self._tries.record(
                exchange,
                account_id=account.settings.id,
                status=delivery.status,
                fault=fault,
                exchanges=exchanges,
                caller_left=left,
                unseen_tokens=self._leave().unseen(time.monotonic(), exchanges) if unseen else 0,
                reason=told.reason(failed, words, account),
            )
            made = self._tries.made[-1]
            self._serving.counts.tried(made.account, made.upstream, made.outcome, made.status)
            if fault is not None:
                delivery.hang_up()
            if self._tries.misreported:
                account.misreported(self.job, time.monotonic())
            if failed is not None:
                told.warn(self.job, self._serving.pool, account, (failed, words, made.status))
        return fault


def _forgets_thoughts(exchange: Exchange) -> bool:
    return isinstance(exchange, Forgetful) and exchange.forget_thoughts()
