"""Owns the life of one accepted attempt: from its accept, over tries at accounts, to its bill and its last frame."""

import asyncio
import time
from enum import StrEnum

from msgspec import structs

from runtime.log import get_logger
from schemas.bus.frames import FRAME_BYTES_MAX, Job
from schemas.bus.usage import Known, Outcome, Try, UsageEvent, estimate, estimate_tokens
from schemas.errors import (
    WireError,
    internal,
    model_not_found,
    not_recorded,
    unavailable,
    upstream_failed,
    upstream_timeout,
)
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.calls import thoughts
from workers.calls.accounts import Account
from workers.calls.frames import FrameWriter
from workers.calls.parts import Parts, PartsError
from workers.calls.serving import Serving
from workers.providers.base import (
    AccountError,
    Action,
    Exchange,
    Fault,
    Forgetful,
    Headed,
    RefusedError,
)
from workers.upstream.http import (
    ANSWER_BYTES_MAX,
    ERROR_BODY_BYTES_MAX,
    UpstreamAnswer,
    UpstreamError,
    read_all,
    read_some,
)

TRIES_MAX = 3  # at upstreams, for one exchange
DRAIN_S = 60.0  # how long an abandoned answer is read on, where the provider bills all of it anyway

_logger = get_logger("workers.call")


class Stop(StrEnum):
    """Why a call was stopped from outside."""

    CANCELLED = "cancelled"  # by its edge: the caller has left, or another attempt replaced it
    EDGE_GONE = "edge_gone"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"  # this worker ends before the call did


_STOP_ERRORS = {
    Stop.TIMEOUT: upstream_timeout(),
    Stop.SHUTDOWN: unavailable("The gateway is restarting. Retry with backoff."),
}
_HUNG_UP = Fault(upstream_timeout(), Action.STOP, unbilled=False)


class Call:
    """One attempt. `start` runs it as a task; `stop` ends it early; either way exactly one usage event results."""

    def __init__(self, serving: Serving, job: Job, reply: str, account: Account) -> None:
        self.job = job
        self.frames = FrameWriter(serving.bus, reply, serving.control)
        self.parts = Parts(job) if job.parts else None
        self.task: asyncio.Task[None] | None = None
        self._serving = serving
        self._first_account: Account | None = account
        self._began = time.monotonic()
        self._stop: Stop | None = None
        self._running = False  # whether a stop must interrupt the task
        self._settling = False  # whether it is too late to stop
        self._left = False  # the edge has said that nobody waits for this attempt
        self._muted = False  # the caller has left; the answer is only read on because it is billed
        self._drain_until = 0.0
        self._waiting_since = 0.0  # for the upstream; 0.0 while not waiting for it
        self._answered = False
        self._first_byte_at = 0.0
        self._error: WireError | None = None
        self._tries: list[Try] = []
        self._served: list[tuple[TokenUsage, Known, tuple[str, ...]]] = []  # of each exchange, its last try
        self._plain = b""  # what is left for the end frame
        self._answer: UpstreamAnswer | None = None

    def start(self) -> asyncio.Task[None]:
        """Accepts, and runs the call to its end."""
        self.frames.accept(self._serving.worker_id)
        self.task = asyncio.create_task(self._run())
        return self.task

    def stop(self, why: Stop) -> None:
        """Ends the call now; or mutes it, where the provider bills abandoned answers."""
        self._left = self._left or why is Stop.CANCELLED
        if self._stop is not None or self._settling:
            return
        drain = self._serving.family.bills_abandoned and self._waiting_since and why is not Stop.SHUTDOWN
        if drain and why is not Stop.TIMEOUT and not self._muted:
            self._muted = True
            self._drain_until = time.monotonic() + DRAIN_S
            self.frames.mute()
            return
        self._stop = why
        self._interrupt()

    def tick(self, now: float) -> None:
        """Deadlines and keep-alives; to be called several times a second."""
        self.frames.tick(now)
        if not self._running:
            return
        if self._muted:
            if now >= self._drain_until:
                self._stop = self._stop or Stop.CANCELLED
                self._interrupt()
        elif self.frames.gone:
            self.stop(Stop.EDGE_GONE)
        elif now - self._began >= self.job.deadline_s:
            self.stop(Stop.TIMEOUT)
        elif self._waiting_since and self.job.stream:
            patience_s = (
                self._serving.patience.between_s if self._answered else self._serving.patience.first_byte_s
            )
            if now - self._waiting_since >= patience_s:
                self.stop(Stop.TIMEOUT)

    def _interrupt(self) -> None:
        if self.task is not None and self._running:
            self.task.cancel()

    async def _run(self) -> None:
        complete = False
        self._running = True
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
            self._running = False
            self._settling = True
            if self._first_account is not None:
                self._first_account.give_back(self.job.hold_list_nano, time.monotonic())
            if not complete:
                self._hang_up()
        await self._settle(complete=complete)
        self._hang_up()

    async def _serve(self) -> bool:
        job, serving = self.job, self._serving
        if self.parts is not None:
            job = structs.replace(job, body=await self.parts.whole())
        model = serving.models.get(job.model)
        if model is None:
            raise RefusedError(model_not_found(job.model))
        wanted = serving.family.thought_ids(job)
        known = await thoughts.fetch(serving.bus, wanted) if wanted else {}
        exchanges = serving.family.open(job, model, known)
        for exchange in exchanges:
            if not await self._exchange(exchange, len(exchanges)):
                return False
            if exchange.thoughts:
                thoughts.store(serving.bus, exchange.thoughts)
        return not self._muted

    async def _exchange(self, exchange: Exchange, of: int) -> bool:
        accounts, job = self._serving.accounts, self.job
        tried: set[str] = set()
        for _ in range(TRIES_MAX):
            now = time.monotonic()
            account, self._first_account = self._first_account, None
            if account is None:
                account = accounts.pick(job.upstream, job.hold_list_nano, tried, now)
                if account is None:
                    self._error = self._error or accounts.refusal(job.hold_list_nano, now) or _NO_ROOM
                    return False
                account.take(job.hold_list_nano)
            tried.add(account.settings.id)
            try:
                fault = await self._try(exchange, account, of)
            finally:
                account.give_back(job.hold_list_nano, time.monotonic())
            if fault is None:
                account.succeeded()
                return True
            final = not fault.unbilled or self._answered or self._muted
            if fault.thoughts_refused and not final and _forgets_thoughts(exchange):
                self._error = fault.error
                tried.discard(account.settings.id)  # it is as good as any other: the request was at fault
                continue
            account.failed(fault, job.upstream, time.monotonic())
            self._error = self._told(fault)
            if final or fault.action is Action.STOP:
                return False
        return False

    def _told(self, fault: Fault) -> WireError:
        if fault.action is Action.GONE:
            return model_not_found(self.job.model, self._serving.models[self.job.model].successor)
        return fault.error

    async def _try(self, exchange: Exchange, account: Account, of: int) -> Fault | None:
        try:
            request = exchange.request(account.settings)
        except AccountError as error:
            return error.fault
        fault: Fault | None = _HUNG_UP  # unless told otherwise below: what a stop leaves behind
        status = 0
        self._waiting_since = time.monotonic()
        try:
            answer = await self._serving.upstream.open(request)
            self._answer = answer
            status = answer.status
            if 200 <= status < 300:
                if isinstance(exchange, Headed):
                    exchange.head(answer.headers)
                fault = await (self._streamed if self.job.stream else self._whole)(exchange, answer)
            else:
                body = await read_some(answer, ERROR_BODY_BYTES_MAX)
                fault = account.scrubbed(self._serving.family.fault(status, answer.headers, body))
        except UpstreamError as error:
            fault = _upstream_fault(error)
        finally:
            self._waiting_since = 0.0
            self._record(exchange, account, status, fault, of)
            if fault is not None:
                self._hang_up()
        return fault

    async def _streamed(self, exchange: Exchange, answer: UpstreamAnswer) -> Fault | None:
        usage = exchange.usage
        while True:
            data = await answer.read()
            out = exchange.feed(data) if data else exchange.close()
            if out:
                await self._emit(out)
            if exchange.fault is not None or exchange.finished or not data:
                return exchange.fault
            if exchange.usage is not None and _is_news(exchange.usage, usage):
                usage = exchange.usage
                if not self._muted:
                    self.frames.early_usage(usage)
            self._waiting_since = time.monotonic()

    async def _whole(self, exchange: Exchange, answer: UpstreamAnswer) -> Fault | None:
        out = exchange.answer(await read_all(answer, ANSWER_BYTES_MAX))
        self._first_byte_at = self._first_byte_at or time.monotonic()
        if exchange.fault is None and out:
            last = (len(out) - 1) // FRAME_BYTES_MAX * FRAME_BYTES_MAX
            if last:
                await self._emit(out[:last])
            self._plain = out[last:]
        return exchange.fault

    async def _emit(self, out: bytes) -> None:
        if not self._answered:
            self._answered = True
            self._first_byte_at = self._first_byte_at or time.monotonic()
        if self._muted:
            return
        frames = self.frames
        for start in range(0, len(out), FRAME_BYTES_MAX):
            frames.data(out[start : start + FRAME_BYTES_MAX] if len(out) > FRAME_BYTES_MAX else out)
            if frames.full:
                self._waiting_since, waited = 0.0, self._waiting_since
                await frames.room()
                self._waiting_since = waited

    def _record(
        self, exchange: Exchange, account: Account, status: int, fault: Fault | None, of: int
    ) -> None:
        usage, known = self._usage(exchange, status, fault, of)
        outcome = Outcome.OK if fault is None else Outcome.FAILED
        if fault is _HUNG_UP and self._stop in (Stop.CANCELLED, Stop.EDGE_GONE):
            outcome = Outcome.CANCELLED
        self._tries.append(
            Try(account.settings.id, self.job.upstream, outcome, status, known, usage, exchange.uplifts)
        )
        if usage is not NO_USAGE:
            self._served.append((usage, known, exchange.uplifts))

    def _usage(
        self, exchange: Exchange, status: int, fault: Fault | None, of: int
    ) -> tuple[TokenUsage, Known]:
        if exchange.finished and exchange.usage is not None:
            return exchange.usage, Known.REPORTED
        if fault is not None and fault.unbilled:
            return NO_USAGE, Known.ESTIMATED
        answered = 200 <= status < 300 or self._stop in (Stop.CANCELLED, Stop.EDGE_GONE)
        job = self.job
        # The other prompts of a batch may have been longer than this one.
        prompt_left = max(job.prompt_max - sum(served.prompt for served, _, _ in self._served), 0)
        usage = estimate(
            exchange.usage,
            prompt_max=min(job.prompt_max // of, prompt_left),
            text_bytes=job.text_bytes // of,
            output_max=job.limit * job.choices // of,
            output_tokens=estimate_tokens(exchange.output_bytes),
            answered=answered,
        )
        return usage, Known.ESTIMATED

    async def _settle(self, *, complete: bool) -> None:
        if complete:
            durable = await self._serving.usage_events.submit(self._event(Outcome.OK))
            if durable:
                self.frames.end(self._plain, sum((usage for usage, _, _ in self._served), NO_USAGE))
            else:
                self.frames.failed(not_recorded())
            return
        if self._muted or self._stop in (Stop.CANCELLED, Stop.EDGE_GONE):
            durable = await self._serving.usage_events.submit(self._event(Outcome.CANCELLED))
            if durable and self._left:
                # Not to an edge that was away for a while: its caller may still wait, and must not be told this.
                self.frames.over(_LEFT)
            return
        if self._stop is not None:
            self._error = _STOP_ERRORS[self._stop]
        self.frames.failed(self._error or internal())
        await self._serving.usage_events.submit(self._event(Outcome.FAILED))

    def _event(self, outcome: Outcome) -> UsageEvent:
        job, serving = self.job, self._serving
        now = time.monotonic()
        # A call that its caller sees end with an HTTP error costs the caller nothing.
        http_error = outcome is Outcome.FAILED and not (job.stream and self._answered)
        served = [] if http_error else self._served
        reported = bool(served) and all(known is Known.REPORTED for _, known, _ in served)
        wall_ms = int(time.time() * 1000)
        duration_ms = int((now - self._began) * 1000)
        serving.counts.ended(outcome)
        return UsageEvent(
            request_id=job.request_id,
            attempt=job.attempt,
            worker_id=serving.worker_id,
            pool=serving.pool,
            provider=serving.provider,
            outcome=outcome,
            known=Known.REPORTED if reported else Known.ESTIMATED,
            usage=sum((usage for usage, _, _ in served), NO_USAGE),
            uplifts=served[-1][2] if served else (),
            tries=tuple(self._tries),
            queued_ms=max(0, wall_ms - duration_ms - job.published_ms),
            first_byte_ms=int((self._first_byte_at - self._began) * 1000) if self._first_byte_at else 0,
            duration_ms=duration_ms,
            finished_ms=wall_ms,
        )

    def _hang_up(self) -> None:
        # A connection whose answer has been read to its end goes back to the pool; any other is closed.
        if self._answer is not None:
            self._answer.close()
            self._answer = None


_LEFT = unavailable("The caller has left.")  # shown to nobody: the frame says that the call is recorded
_NO_ROOM = unavailable("Every upstream account of the pool is busy. Retry with backoff.")
_UNREACHABLE = upstream_failed("The upstream provider cannot be reached. Retry with backoff.")
_LOST = upstream_failed("The connection to the upstream provider was lost. Retry with backoff.")


def _is_news(usage: TokenUsage, told: TokenUsage | None) -> bool:
    """Whether usage is worth a frame: another prompt, or twice the output. Some providers repeat theirs on each chunk."""
    return told is None or usage.prompt != told.prompt or usage.completion > 2 * told.completion


def _forgets_thoughts(exchange: Exchange) -> bool:
    return isinstance(exchange, Forgetful) and exchange.forget_thoughts()


def _upstream_fault(error: UpstreamError) -> Fault:
    told = upstream_timeout() if error.timeout else None
    if not error.sent:
        return Fault(told or _UNREACHABLE, Action.NEXT)
    return Fault(told or _LOST, Action.NEXT, unbilled=False)
