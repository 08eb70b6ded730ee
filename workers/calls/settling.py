"""Owns how one attempt settles: its usage event, and what its edge is told last."""

import time

from schemas.bus.frames import FRAME_BYTES_MAX, Job
from schemas.bus.subjects import edge_of
from schemas.bus.usage import Outcome, UsageEvent
from schemas.errors import WireError, gives_way, internal, not_recorded, unavailable
from workers.answers import costs
from workers.calls.bill import billed_nano, usage_event
from workers.calls.counting import WORTH_TOKENS
from workers.calls.delivery import Delivery
from workers.calls.frames import FrameWriter
from workers.calls.serving import Serving
from workers.calls.tries import Tries
from workers.upstream.request import UpstreamRequest

_LEFT = unavailable("The caller has left.")  # shown to nobody: the frame says that the call is recorded


class Settling:
    """Publishes the event, and sends the last frame: the end after the event's ack, a failure at once.

    An attempt settles in one of three ways, once. `began` is time.monotonic().
    """

    __slots__ = (
        "_began",
        "_delivery",
        "_frames",
        "_job",
        "_queued_ms",
        "_serving",
        "_tries",
        "left",
    )

    def __init__(
        self,
        serving: Serving,
        job: Job,
        reply: str,
        frames: FrameWriter,
        *,
        began: float,
        delivery: Delivery,
        tries: Tries,
    ) -> None:
        self._serving = serving
        self._job = job
        self._delivery = delivery
        self._tries = tries
        self._frames = frames
        self._began = began
        self._queued_ms = serving.clocks.queued_ms(
            edge_of(reply), job.published_ms, time.time_ns() // 1_000_000
        )
        self.left = False  # the edge has said that nobody waits for this attempt

    async def served(self) -> None:
        """All of the answer has come."""
        event = self._event(Outcome.OK)
        if await self._serving.usage_events.submit(event):
            await self._end(event)
        else:
            self._frames.failed(not_recorded())
        self._tries.learn(time.monotonic())

    async def unwanted(self, request: UpstreamRequest | None) -> None:
        """Nobody is there to have the answer. Where its caller has hung up, its provider is asked to count `request`."""
        if request is not None:
            await self._count(request)
        durable = await self._serving.usage_events.submit(self._event(Outcome.CANCELLED))
        if durable and self.left:
            # Only for a cancelled call: an edge that was merely unreachable may still have a waiting caller.
            self._frames.over(_LEFT)

    async def failed(self, error: WireError | None) -> None:
        """No answer has come, or only a part. None is a fault of ours that nobody has named."""
        error = error or internal()
        # What was sent cannot be taken back; until then the next candidate may do better.
        passes = not self._job.last and not self._delivery.answered and gives_way(error)
        self._frames.failed(error, gives_way=passes)
        await self._serving.usage_events.submit(self._event(Outcome.FAILED, passes=passes))

    async def _count(self, request: UpstreamRequest) -> None:
        """Asks the provider for a long prompt's count that nobody has told. The answer itself is hung up on already."""
        if self._tries.guessed_tokens < WORTH_TOKENS:
            return
        serving = self._serving
        tokens = await serving.counting.ask(serving.family, serving.upstream, self._job.scope, request)
        if tokens is not None:
            self._tries.counted(tokens)

    async def _end(self, event: UsageEvent) -> None:
        """The last frame, once the event is durable: with what the call is billed, where anybody is told that."""
        job, delivery, billed = self._job, self._delivery, None
        if job.include_cost or not job.stream:
            if self._serving.leases.sure(self._began, time.monotonic()):
                billed = billed_nano(event, job)
            if job.include_cost:
                delivery.rest = costs.filled(delivery.rest, billed)
        if len(delivery.rest) > FRAME_BYTES_MAX:
            await delivery.make_room()
        self._frames.end(delivery.rest, self._tries.usage, billed)
        if job.keeps:
            self._serving.items.keep(job, delivery.ending)

    def _event(self, outcome: Outcome, *, passes: bool = False) -> UsageEvent:
        self._serving.counts.ended(outcome)
        return usage_event(
            self._serving,
            self._job,
            self._tries,
            outcome=outcome,
            gives_way=passes,
            stream_begun=self._job.stream and self._delivery.answered,
            began=self._began,
            first_byte_at=self._delivery.first_byte_at,
            queued_ms=self._queued_ms,
        )
