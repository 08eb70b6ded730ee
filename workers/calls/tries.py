"""Owns what an attempt's calls of upstreams came to: a record of each, and the usage that the caller is billed."""

import time

from msgspec import structs

from schemas.bus.frames import Job
from schemas.bus.usage import Known, Outcome, Try, estimate
from schemas.dialects.prompts import prompt_sample, text_tokens
from schemas.errors import upstream_timeout
from schemas.estimates.weighed import weighed
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.beliefs import believable, is_beyond
from workers.calls.factors import TOKENS_MIN, Factors
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

    __slots__ = (
        "_factors",
        "_guessed",
        "_job",
        "_served",
        "_told_tokens",
        "made",
        "misreported",
        "refused",
        "tier_unsaid",
    )

    def __init__(self, job: Job, factors: Factors) -> None:
        self._job = job
        self._factors = factors
        self._told_tokens: int | None = (
            None  # of the prompt's text, once it was estimated as its caller is told
        )
        self._served: list[tuple[TokenUsage, Known, tuple[str, ...]]] = []
        self._guessed = (
            False  # the prompt of the only exchange, of whose last try its provider has said nothing
        )
        self.made: list[Try] = []
        self.refused = False  # by the last of them, as the caller's own fault
        self.misreported = False  # the last of them reported more tokens than it can have used
        self.tier_unsaid = False  # of what served last: it broke off before its provider told tier or region

    def resolved(self, job: Job) -> None:
        """The job has its whole body now, with its references' items in it."""
        self._job = job

    def learn(self, now: float) -> None:
        """Compares what was reported of a call that went well with what would have been estimated, where that is wanted."""
        job = self._job
        if job.media_tokens or job.text_bytes < TOKENS_MIN:
            return
        if len(self._served) != 1 or self.known is not Known.REPORTED:
            return
        if self._factors.wants(job.scope, job.upstream, now):
            began = time.thread_time()
            prompt = weighed(prompt_sample(job))
            self._factors.learn(job.scope, job.upstream, prompt, self.usage.prompt)
            self._factors.worked(time.thread_time() - began)

    @property
    def usage(self) -> TokenUsage:
        """The sum over what is billed."""
        if len(self._served) == 1:
            return self._served[0][0]
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
        unseen_tokens: int = 0,
        reason: str = "",
    ) -> None:
        """One more try has ended: with an HTTP status (0 for none), as one of so many exchanges of the job.

        An estimate of its output has at least `unseen_tokens`: reasoning in secret, or an answer that had not come yet.
        `reason` is for operators: why it failed.
        """
        self.misreported = False
        self._guessed = exchanges == 1 and exchange.usage is None
        usage, known = self._usage(
            exchange, status, fault, exchanges, caller_left=caller_left, unseen_tokens=unseen_tokens
        )
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

    @property
    def guessed_tokens(self) -> int:
        """Of the prompt, where that is billed and nobody but us has counted it; else 0."""
        return self.made[-1].usage.prompt if self._guessed and self._served else 0

    def counted(self, prompt: int) -> None:
        """The provider has counted that prompt since: its figure stands for ours, up to the bound that is held."""
        usage, known, uplifts = self._served.pop()
        usage = structs.replace(usage, input=min(prompt, self._job.prompt_max))
        self._served.append((usage, known, uplifts))
        self.made[-1] = structs.replace(self.made[-1], usage=usage)

    def _usage(
        self,
        exchange: Exchange,
        status: int,
        fault: Fault | None,
        exchanges: int,
        *,
        caller_left: bool,
        unseen_tokens: int,
    ) -> tuple[TokenUsage, Known]:
        job, told = self._job, exchange.usage
        if told is not None and is_beyond(job, told, exchanges):
            self.misreported = True
            told = believable(job, told, exchange.said, exchanges)
        if exchange.finished and told is not None:
            # Said by those alone whose answers may end uncounted. To ask for a protocol would cost each call 20 µs.
            guessed = self.misreported or getattr(exchange, "unsure", False)
            return told, Known.ESTIMATED if guessed else Known.REPORTED
        if fault is not None and fault.unbilled:
            return NO_USAGE, Known.ESTIMATED
        # The other prompts of a batch may have been longer than this one.
        prompt_left = max(job.prompt_max - sum(served.prompt for served, _, _ in self._served), 0)
        # Who was told the estimate of a whole answer was told it without the key's own factor.
        prompt_tokens = self._prompt_tokens(told=exchange.finished) if told is None else 0
        usage = estimate(
            told,
            prompt_max=min(job.prompt_max // exchanges, prompt_left),
            prompt_tokens=prompt_tokens // exchanges,
            output_max=job.limit * job.choices // exchanges,
            output_tokens=max(exchange.said.tokens(job.upstream), unseen_tokens),
            answered=200 <= status < 300 or caller_left,
        )
        return usage, Known.ESTIMATED

    def _prompt_tokens(self, *, told: bool) -> int:
        job = self._job
        if told:
            if self._told_tokens is None:
                self._told_tokens = text_tokens(job)
            return self._told_tokens + job.media_tokens
        text = self._factors.tokens(job.scope, job.upstream, weighed(prompt_sample(job)))
        return text + job.media_tokens
