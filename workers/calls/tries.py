"""Owns what an attempt's calls of upstreams came to: a record of each, and the usage that the caller is billed."""

from schemas.bus.frames import Job
from schemas.bus.usage import Known, Outcome, Try, estimate, estimate_tokens
from schemas.errors import upstream_timeout
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.beliefs import believable, is_beyond
from workers.providers.base import Action, Exchange, Fault, heads

HUNG_UP = Fault(upstream_timeout(), Action.STOP, unbilled=False)  # what a stop leaves behind


def _came_to_nothing(exchange: Exchange, fault: Fault | None) -> bool:
    """Whether the provider itself ended an answer of which nothing had come: what it bills for that is our cost."""
    if fault is None or fault is HUNG_UP or exchange.output_bytes:
        return False
    return (
        exchange.usage is None or not exchange.usage.reasoning
    )  # an opening's count of output stands for none


class Tries:
    """The tries of one attempt, in order. Billed are those with usage: of each exchange its last try, if any."""

    __slots__ = ("_job", "_served", "made", "misreported", "refused", "tier_unsaid")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._served: list[tuple[TokenUsage, Known, tuple[str, ...]]] = []
        self.made: list[Try] = []
        self.refused = False  # by the last of them, as the caller's own fault
        self.misreported = False  # the last of them reported more tokens than it can have used
        self.tier_unsaid = False  # of what served last: it broke off before its provider told tier or region

    def resolved(self, job: Job) -> None:
        """The job has its references' items in its text now."""
        self._job = job

    @property
    def usage(self) -> TokenUsage:
        """The sum over what is billed."""
        return sum((usage for usage, _, _ in self._served), NO_USAGE)

    @property
    def known(self) -> Known:
        """Reported only if all that is billed is."""
        reported = bool(self._served) and all(known is Known.REPORTED for _, known, _ in self._served)
        return Known.REPORTED if reported else Known.ESTIMATED

    @property
    def uplifts(self) -> tuple[str, ...]:
        """Service tier and region of what served last."""
        return self._served[-1][2] if self._served else ()

    def record(
        self,
        exchange: Exchange,
        *,
        account_id: str,
        status: int,
        fault: Fault | None,
        exchanges: int,
        caller_left: bool,
        reason: str = "",
    ) -> None:
        """One more try has ended: with an HTTP status (0 for none), as one of so many exchanges of the job.

        `reason` is for operators: why it failed.
        """
        self.misreported = False
        usage, known = self._usage(exchange, status, fault, exchanges, caller_left=caller_left)
        self.refused = fault is not None and fault.action is Action.STOP and fault.unbilled
        outcome = Outcome.OK if fault is None else Outcome.FAILED
        if fault is HUNG_UP and caller_left:
            outcome = Outcome.CANCELLED
        self.made.append(
            Try(
                account=account_id,
                upstream=self._job.upstream,
                outcome=outcome,
                status=status,
                known=known,
                usage=usage,
                uplifts=exchange.uplifts,
                reason=reason,
            )
        )
        if usage is not NO_USAGE and not _came_to_nothing(exchange, fault):
            self._served.append((usage, known, exchange.uplifts))
            # Providers tell it with usage, or in the head: who reads that starts out from what was asked for.
            unsaid = exchange.usage is None and not heads(exchange)
            self.tier_unsaid = unsaid and known is Known.ESTIMATED

    def _usage(
        self, exchange: Exchange, status: int, fault: Fault | None, exchanges: int, *, caller_left: bool
    ) -> tuple[TokenUsage, Known]:
        job, told = self._job, exchange.usage
        if told is not None and is_beyond(job, told, exchanges):
            self.misreported = True
            told = believable(job, told, exchange.output_bytes, exchanges)
        if exchange.finished and told is not None:
            # Said by those alone whose answers may end uncounted. To ask for a protocol would cost each call 20 µs.
            guessed = self.misreported or getattr(exchange, "unsure", False)
            return told, Known.ESTIMATED if guessed else Known.REPORTED
        if fault is not None and fault.unbilled:
            return NO_USAGE, Known.ESTIMATED
        # The other prompts of a batch may have been longer than this one.
        prompt_left = max(job.prompt_max - sum(served.prompt for served, _, _ in self._served), 0)
        usage = estimate(
            told,
            prompt_max=min(job.prompt_max // exchanges, prompt_left),
            text_bytes=job.text_bytes // exchanges,
            media_tokens=job.media_tokens // exchanges,
            output_max=job.limit * job.choices // exchanges,
            output_tokens=estimate_tokens(exchange.output_bytes),
            answered=200 <= status < 300 or caller_left,
        )
        return usage, Known.ESTIMATED
