"""Owns what becomes of one call's answer when its caller has left: read on or hung up on, and what nobody saw of it."""

from schemas.bus.frames import Job
from schemas.catalogue.model import CLOSE, DRAIN
from workers.calls.delivery import Delivery
from workers.calls.frames import FrameWriter
from workers.calls.reasoning import reasons
from workers.calls.serving import Serving
from workers.calls.stops import Stop

# An estimate may be short of what was produced by this much: an answer that has more is paid for in full already.
BEYOND_LIMIT = 4


class Leaving:
    """Decides once, when a caller leaves. Moments are time.monotonic().

    An answer is read on where its usage is worth more than the rest costs: its model reasons in secret, or its provider
    bills all of it anyway. Where there is no place for that, no more is known than the bound of what it costs.
    """

    __slots__ = ("_began", "_delivery", "_frames", "_job", "_pays_bound", "_reasons", "_serving", "_until")

    def __init__(
        self, serving: Serving, job: Job, delivery: Delivery, frames: FrameWriter, *, began: float
    ) -> None:
        self._serving = serving
        self._job = job
        self._delivery = delivery
        self._frames = frames
        self._began = began
        self._reasons: bool | None = None
        self._until: float | None = None
        self._pays_bound = False

    @property
    def draining(self) -> bool:
        """Whether the caller has left, and the answer is read on."""
        return self._until is not None

    @property
    def _hides(self) -> bool:
        """Whether the model reasons, and what its provider has told so far does not say how much."""
        told = self._delivery.told is not None and self._serving.family.tells_totals
        if told and self._job.stream:
            return False
        if self._reasons is None:
            model = self._serving.models.get(self._job.model)
            self._reasons = model is not None and reasons(self._job.body, model)
        return self._reasons

    def stays(self, why: Stop, now: float) -> bool:
        """Whether an answer is under way that is read on, now that nobody is there to have it.

        One that was replaced, or failed at its edge, is read on only where its provider bills it anyway. Only
        who has left himself pays for there being no room.
        """
        if self.draining or not self._delivery.asking:
            return self.draining
        serving, job = self._serving, self._job
        untold = serving.family.bills_abandoned or (why is not Stop.REPLACED and self._hides)
        model = serving.models.get(job.model)
        said = (model.on_hangup if model is not None else "") or serving.on_hangup
        wanted = untold or (said == DRAIN and why is not Stop.REPLACED)
        if said == CLOSE or not wanted:
            return False
        if not serving.drains.begin(job.scope):
            self._pays_bound = untold and why is Stop.CANCELLED
            return False
        self._until = min(now + serving.drain_s, self._began + job.deadline_s)
        self._frames.mute()
        return True

    def over(self, now: float) -> bool:
        """Whether an answer has been read on for long enough, or has more output than its hold can pay."""
        most = BEYOND_LIMIT * self._job.limit * self._job.choices
        return self._until is not None and (now >= self._until or self._frames.output_tokens > most)

    def unseen(self, now: float, exchanges: int = 1) -> int:
        """Tokens of output by the time that they took: of secret reasoning, or of a plain answer that has not come."""
        job = self._job
        if self._pays_bound:
            return job.limit * job.choices
        if job.stream and not self._hides:
            return 0
        produced = self._serving.speeds.produced(job.upstream, self._delivery.pace, now)
        return min(produced * max(job.choices // exchanges, 1), job.limit * job.choices)

    def ended(self) -> None:
        """The call is over: its place is another's."""
        if self._until is not None:
            self._serving.drains.end(self._job.scope)
