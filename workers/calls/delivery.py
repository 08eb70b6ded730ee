"""Owns an upstream's answer on its way to the edge: asked for, read, translated, and sent on as frames."""

import asyncio
import math
import time

from schemas.bus.frames import FRAME_BYTES_MAX, Job
from schemas.errors import upstream_failed, upstream_timeout
from schemas.money.pricing import TokenUsage
from workers.answers import costs, terminal
from workers.answers.beliefs import is_beyond
from workers.calls.accounts import Account
from workers.calls.frames import FrameWriter
from workers.calls.serving import Serving
from workers.calls.speeds import Pace
from workers.providers.base import About, Action, Exchange, Fault, Laborious, Yielding, heads
from workers.providers.words import NOTHING, Words, words_of
from workers.upstream.http import (
    ANSWER_BYTES_MAX,
    ERROR_BODY_BYTES_MAX,
    UpstreamAnswer,
    UpstreamError,
    read_all,
    read_some,
)
from workers.upstream.request import UpstreamRequest

LAST_S = 60.0  # how long a slow caller's edge is waited for with last events that are larger than a frame
LOOP_BYTES_MAX = 64 * 1024  # of an answer that is translated on the loop, though it is laborious
_UNREACHABLE = upstream_failed("The upstream provider cannot be reached. Retry with backoff.")
_EVENT_END = b"\n\n"  # within an event there is none
_LOST = upstream_failed("The connection to the upstream provider was lost. Retry with backoff.")


class Delivery:
    """What one attempt asks of upstreams, one call after another, and passes on. Times are time.monotonic()."""

    __slots__ = (
        "_answer",
        "_asking",
        "_beside",
        "_costed",
        "_earlier_tokens",
        "_exchange",
        "_frames",
        "_job",
        "_keeps",
        "_serving",
        "_stream",
        "_terminal",
        "answered",
        "ending",
        "first_byte_at",
        "pace",
        "rest",
        "status",
        "waiting_since",
        "words",
    )

    def __init__(self, serving: Serving, job: Job, frames: FrameWriter) -> None:
        self._serving = serving
        self._job = job
        self._stream = job.stream
        self._keeps = job.keeps
        self._terminal = terminal(job.dialect)
        self._costed = job.include_cost
        self._frames = frames
        self._answer: UpstreamAnswer | None = None
        self._exchange: Exchange | None = None  # the newest
        self._earlier_tokens = 0.0  # of output, of the exchanges that are complete
        self.waiting_since: float | None = None  # for the upstream; None while not waiting for it
        self._asking = False
        self._beside: list[Delivery] = []  # of the same job's calls that run at the same time
        self.pace = Pace(0.0)  # of the newest call
        self.first_byte_at: float | None = None
        self.answered = False  # something for the caller has come that no other try may repeat
        self.rest = b""  # what is left for the end frame
        self.ending = b""  # where items are kept: the whole of a plain answer, of a stream its last events
        self.status = 0  # of the newest call; 0 while there is none
        self.words = NOTHING  # by its upstream, if it has failed

    @property
    def asking(self) -> bool:
        """Whether a call of an upstream is under way, whoever is waited for."""
        return self._asking or any(other.asking for other in self._beside)

    def beside(self) -> "Delivery":
        """What another of the job's plain calls has beside this one, until `gather`."""
        other = Delivery(self._serving, self._job, self._frames)
        self._beside.append(other)
        return other

    def gather(self) -> None:
        """Takes over what came of the calls beside: the last one to end has the answer."""
        for other in self._beside:
            other.hang_up()
            self.answered = self.answered or other.answered
            if other.rest:
                self.rest, self.ending = other.rest, other.ending
        self._beside.clear()

    @property
    def told(self) -> TokenUsage | None:
        """What the provider has told of the newest call's usage so far."""
        return None if self._exchange is None else self._exchange.usage

    def overdue(self, now: float) -> bool:
        """Whether a stream's upstream has sent nothing for too long, not even a keep-alive."""
        since = self.waiting_since
        return self._stream and since is not None and now - since >= self._serving.idle_s

    async def ask(self, exchange: Exchange, request: UpstreamRequest, account: Account) -> Fault | None:
        """Makes one call, and passes its answer on. The fault, if that was no answer, or not a whole one."""
        self.status, self.words = 0, NOTHING
        self._asking, self._exchange = True, exchange
        self.waiting_since = time.monotonic()
        self.pace = Pace(self.waiting_since)
        try:
            answer = self._answer = await self._serving.upstream.open(request)
            self.status = answer.status
            body = b""
            if not 200 <= answer.status < 300:
                answer, body = await self._yielded(exchange, answer)
            if not 200 <= answer.status < 300:
                self.words = words_of(answer.headers, body)
                return account.scrubbed(self._serving.family.fault(answer.status, answer.headers, body))
            if self._stream:
                self.pace.head_at = time.monotonic()
            if heads(exchange):
                exchange.head(answer.headers)
            fault = await (self._streamed if self._stream else self._whole)(exchange, answer)
        except UpstreamError as error:
            self.words = Words(message=str(error))
            return _upstream_fault(error)
        finally:
            self._asking, self.waiting_since = False, None
        if fault is None:
            self._earlier_tokens += exchange.said.tokens_so_far(self._job.upstream)
            if (
                exchange.usage is not None and self._job.choices == 1
            ):  # several come at once, or one after another
                now, tokens = time.monotonic(), min(exchange.usage.completion, self._job.limit)
                self._serving.speeds.learn(self._job.upstream, self.pace, now, tokens)
        else:
            self.words = words_of(answer.headers)
        return fault

    async def _yielded(self, exchange: Exchange, answer: UpstreamAnswer) -> tuple[UpstreamAnswer, bytes]:
        """The answer that counts after one of another status than 2xx, and its body if it is no better.

        Asks once more, where the exchange can do without what the server refused.
        """
        body = await read_some(answer, ERROR_BODY_BYTES_MAX)
        if (
            self._frames.muted
            or not isinstance(exchange, Yielding)
            or (again := exchange.without(answer.status, body)) is None
        ):
            return answer, body
        answer = self._answer = await self._serving.upstream.open(again)
        self.status = answer.status
        if 200 <= answer.status < 300:
            exchange.taken()
            return answer, b""
        return answer, await read_some(answer, ERROR_BODY_BYTES_MAX)

    async def _streamed(self, exchange: Exchange, answer: UpstreamAnswer) -> Fault | None:
        frames = self._frames
        usage = exchange.usage
        while True:
            data = await answer.read()
            out = exchange.feed(data) if data else exchange.close()
            self._note_output(exchange)
            if (self._terminal or self._costed) and exchange.finished and not frames.muted:
                out = self._kept_back(out)
            if out:
                await self._emit(out)
            if exchange.fault is not None or exchange.finished or not data:
                return exchange.fault
            if exchange.usage is not None and _is_news(exchange.usage, usage):
                usage = exchange.usage
                if not is_beyond(self._job, usage):
                    frames.early_usage(usage)
            self.waiting_since = time.monotonic()

    def _kept_back(self, out: bytes) -> bytes:
        """What may be sent before the bill is durable: the last events become the end frame's."""
        # A line of data has no line break in it, so nothing that a model says can look like the start of an event.
        # The first counts: a provider may say more than once why its answer ends.
        begins = [at for mark in self._terminal if (at := out.find(mark)) >= 0]
        if self._costed and (told := costs.place(out)) >= 0:
            before = out.rfind(_EVENT_END, 0, told)
            begins.append(0 if before < 0 else before + len(_EVENT_END))
        at = min(begins, default=len(out))
        self.rest = out[at:]
        self.ending = self.rest if self._keeps else b""
        return out[:at]

    def _note_output(self, exchange: Exchange) -> None:
        produced = self._earlier_tokens + exchange.said.tokens_so_far(self._job.upstream)
        if produced > self._frames.output_tokens:  # a denser beginning may have said more
            self._frames.output_tokens = math.ceil(produced)

    async def _whole(self, exchange: Exchange, answer: UpstreamAnswer) -> Fault | None:
        body = await read_all(answer, ANSWER_BYTES_MAX)
        if len(body) > LOOP_BYTES_MAX and isinstance(exchange, Laborious):
            out = await asyncio.to_thread(exchange.answer, body)
        else:
            out = exchange.answer(body)
        self._note_output(exchange)
        self._note_first_byte()
        if exchange.fault is None and out and not self._frames.muted:
            self.ending = out if self._keeps else b""
            kept = costs.place(out) if self._costed else -1
            last = (kept if kept >= 0 else len(out) - 1) // FRAME_BYTES_MAX * FRAME_BYTES_MAX
            if last:
                await self._emit(out[:last])
            self.rest = out[last:]
        return exchange.fault

    async def _emit(self, out: bytes) -> None:
        if not self.answered:
            self.answered = True
            self._note_first_byte()
        frames = self._frames
        if self._terminal:
            frames.events += out.count(_EVENT_END)
        for start in range(0, len(out), FRAME_BYTES_MAX):
            frames.data(out[start : start + FRAME_BYTES_MAX] if len(out) > FRAME_BYTES_MAX else out)
            if frames.full:
                self.waiting_since, waited = None, self.waiting_since
                full_at = time.monotonic()
                await frames.room()
                self.pace.waited_s += time.monotonic() - full_at
                self.waiting_since = waited

    async def make_room(self) -> None:
        """Sends of the last events what one frame has no room for, as the edge takes it; after LAST_S all at once."""
        frames, rest, at = self._frames, self.rest, 0
        try:
            async with asyncio.timeout(LAST_S):
                while len(rest) - at > FRAME_BYTES_MAX:
                    frames.data(rest[at : at + FRAME_BYTES_MAX])
                    at += FRAME_BYTES_MAX
                    if frames.full:
                        await frames.room()
        except TimeoutError:
            pass
        self.rest = rest[at:]

    def _note_first_byte(self) -> None:
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()

    def hang_up(self) -> None:
        """Lets go of the upstream: an answer read to its end gives its connection back, any other is closed."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _is_news(usage: TokenUsage, told: TokenUsage | None) -> bool:
    """Whether usage is worth a frame: another prompt, or twice the output. Some providers repeat theirs on each chunk."""
    return told is None or usage.prompt != told.prompt or usage.completion > 2 * told.completion


def _upstream_fault(error: UpstreamError) -> Fault:
    told = upstream_timeout() if error.timeout else None
    if not error.sent:  # nothing of the request has reached the host: it is not the request that it fails by
        return Fault(told or _UNREACHABLE, Action.NEXT, about=About.ACCOUNT, sure=True)
    return Fault(told or _LOST, Action.NEXT, unbilled=False)
