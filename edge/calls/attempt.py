"""Owns one attempt of a call: its offer, frames in order, the bytes they bring, credit, and what it has produced."""

import time
import weakref
from enum import Enum, auto

from msgspec import Struct, structs

from edge import faults
from edge.calls.flow import Flow, Order
from edge.calls.host import CallView, Host, Settle
from edge.calls.outlet import Outlet
from edge.limits import Limits
from schemas.bus import frames, usage
from schemas.bus.frames import Accept, Alive, Bounce, Data, EarlyUsage, End, Failed, Frame, Head, Job
from schemas.errors import NOT_RECORDED, WireError, internal
from schemas.estimates.sample import Sample
from schemas.estimates.starts import start_of
from schemas.estimates.weighed import tokens_of
from schemas.money.pricing import TokenUsage

CANCEL_INTERVAL_S = 2.0
_WAITING_BYTES_MAX = 1024 * 1024 + frames.FRAME_BYTES_MAX  # what a worker of the last version may send ahead


class Fate(Enum):
    """How an attempt is over."""

    ENDED = auto()  # the worker has said all that it will say
    GAVE_WAY = auto()  # its model cannot serve, the caller has seen nothing, and the hold is open
    LOST = auto()  # the worker lives, but its answer cannot be completed
    DEAD = auto()  # the worker has been silent for too long


class Verdict(Struct, frozen=True):
    """That an attempt is over, the error that its caller would see, and of one that has ended what it means."""

    fate: Fate
    error: WireError | None = None
    how: Settle = Settle.WORKER


_DEAD = Verdict(Fate.DEAD)
_NO_MEMORY = Verdict(Fate.LOST, faults.NO_MEMORY)
_PART_LOST = Verdict(Fate.LOST, faults.PART_LOST)
_TOO_MUCH = Verdict(Fate.LOST, faults.TOO_MUCH)


class Attempt:
    """One attempt. Times are monotonic, None for what has not been yet."""

    def __init__(
        self, host: Host, limits: Limits, outlet: Outlet, job: Job, *, number: int, now: float
    ) -> None:
        self._host = host
        self._limits = limits
        # Its call holds it. Held in turn, each call would be a cycle, which stays until one is looked for.
        self._outlet: Outlet = weakref.proxy(outlet)
        self._request_id = job.request_id
        self._stream = job.stream
        self.number = number
        self.worker_id = ""
        self.accepted: float | None = None
        self.inbox = ""  # where its frames go, once it is offered
        self.seal = b""  # what its worker wants a large body sealed to
        self.bounces = 0
        self.flow = Flow()
        self.headers: tuple[tuple[str, str], ...] = ()
        self.offered_ms = 0  # unix time
        self.events = 0  # as the caller's dialect numbers them
        self.billed_nano: int | None = None  # of one that has ended well, where its worker says it
        self._output_tokens = 0  # of a stream, as the worker counts them
        self._early: TokenUsage | None = None
        self._last_frame = now
        self._cancelled: float | None = None

    def offer(self, call: CallView, job: Job, deadline_s: float) -> bool:
        """Publishes the job, with so many seconds to do it; False where that cannot help now."""
        if not self._host.serves(call.pool, job.model):
            return False
        now_ms = self.offered_ms = time.time_ns() // 1_000_000
        job = structs.replace(job, attempt=self.number, deadline_s=deadline_s, published_ms=now_ms)
        return self._host.publish_job(call, job)

    def accept(self, frame: Accept, now: float) -> None:
        """A worker has it."""
        self.worker_id, self.seal = frame.worker_id, frame.seal
        self.accepted = self._last_frame = now
        self.flow.order(frame.seq)

    def cancel(self, now: float) -> None:
        """Tells the worker to stop, if one has it."""
        if self.worker_id:
            self._cancelled = now
            self._host.cancel(self.worker_id, self._request_id, self.number, left=self._outlet.left)

    def cancel_again(self, now: float) -> None:
        """The worker goes on: it is told now and then, in case the first word was lost."""
        if self._cancelled is None or now - self._cancelled >= CANCEL_INTERVAL_S:
            self.cancel(now)

    def send_credit(self, now: float) -> None:
        """Says what has been consumed: absolute, so that a lost word does no harm."""
        self.flow.credited(now)
        self._host.credit(self.worker_id, self._request_id, self.number, self.flow.consumed)

    def on_reconnect(self, now: float) -> None:
        """NATS is back: what was on its way may be lost."""
        self._last_frame = now
        self.send_credit(now)

    def on_frame(self, frame: Frame, now: float) -> Verdict | None:
        """One frame after the accept; the verdict if it is the last."""
        self._last_frame = now
        if isinstance(frame, Alive):
            self._count(frame)
            if self.flow.lacks(frame.last_seq):
                self._gap(now)
            return None
        if isinstance(frame, Bounce):
            return None
        order = self.flow.order(frame.seq)
        if order is Order.NEXT:
            return self._on_next(frame)
        if order is Order.GAP:
            self._gap(now)
        return None

    def _on_next(self, frame: Accept | Data | Head | EarlyUsage | End | Failed) -> Verdict | None:
        if isinstance(frame, Data):
            self._count(frame)
            self.events = frame.events
            verdict = self._append(frame.data)
            self._outlet.wake()
            return verdict
        if isinstance(frame, End):
            self.billed_nano = frame.billed_nano
            lost = self._append(frame.data) if frame.data else None
            return lost or self._complete()
        if isinstance(frame, Failed):
            return Verdict(Fate.GAVE_WAY, frame.error) if frame.gives_way else self._failed(frame.error)
        if isinstance(frame, EarlyUsage):
            self._early = frame.usage
        elif isinstance(frame, Head):
            self.headers = frame.headers
        return None

    def _complete(self) -> Verdict:
        if self._stream or self._outlet.left or self.flow.waiting_bytes:
            return Verdict(Fate.ENDED)
        return Verdict(Fate.ENDED, internal(), Settle.FAIL)  # a plain answer without a byte

    def _failed(self, error: WireError) -> Verdict:
        # An event that could not be recorded in time may still be, and would bill an answer that nobody got.
        outlet = self._outlet
        seen = self._stream and (outlet.delivered or self.flow.waiting_bytes)
        billed = error.code == NOT_RECORDED and not seen and not outlet.left
        return Verdict(Fate.ENDED, error, Settle.FAIL if billed else Settle.WORKER)

    def _count(self, frame: Data | Alive) -> None:
        # Of a plain answer nobody has seen anything; a worker that does not count yet says 0.
        if self._stream:
            self._output_tokens = max(self._output_tokens, frame.output_tokens)

    def _append(self, data: bytes) -> Verdict | None:
        outlet, flow = self._outlet, self.flow
        if outlet.first_data is None:
            outlet.first_data = time.monotonic()
        if outlet.left:
            flow.pass_on(len(data))
            return None
        flow.append(data)
        if self._stream:
            return _TOO_MUCH if flow.waiting_bytes > _WAITING_BYTES_MAX else None
        # Nothing is sent before the end, so the window must move on by itself.
        if not self._host.reserve(len(data)):
            return _NO_MEMORY
        outlet.reserved += len(data)
        flow.pass_on(len(data))
        if flow.credit_due:
            self.send_credit(time.monotonic())
        return None

    def _gap(self, now: float) -> None:
        """Frames are missing: they may be resent for a while, and the worker learns what arrived."""
        if self.flow.gap_since is None:
            self.flow.gap_since = now
            self.send_credit(now)

    def tick(self, now: float) -> Verdict | None:
        """Repeats a credit; the verdict if the worker is silent, or frames stay missing."""
        flow = self.flow
        if flow.credit_again(now, frames.CREDIT_INTERVAL_S):
            self.send_credit(now)
        if flow.unconfirmed:
            self._outlet.wake()  # no new frame, but bytes taken earlier may have been sent
        if self._outlet.left:
            return None  # a worker that has been told to stop has nothing more to say
        if now - self._last_frame >= self._limits.silence_s:
            return _DEAD
        if flow.gap_since is not None and now - flow.gap_since >= self._limits.gap_s:
            return _PART_LOST
        return None

    def estimate(self, job: Job, prompt: Sample) -> TokenUsage:
        """Usage as far as the frames tell it, with a sample of the prompt's text."""
        return usage.estimate(
            self._early,
            prompt_max=job.prompt_max,
            prompt_tokens=self._prompt_tokens(job, prompt) if self._early is None else 0,
            output_max=job.limit * job.choices,
            output_tokens=self._output_tokens,
            answered=self._outlet.left or self._early is not None or self.flow.answered,
        )

    @staticmethod
    def _prompt_tokens(job: Job, prompt: Sample) -> int:
        return tokens_of(prompt, start_of(job.upstream).factor) + job.media_tokens
