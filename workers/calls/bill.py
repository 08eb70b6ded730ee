"""Owns what an attempt says of itself when it is over: its usage event, and what the ledger bills for it."""

import time

from schemas.bus.frames import Job
from schemas.bus.usage import Known, Outcome, UsageEvent, billed_uplifts, countable
from schemas.embeddings.request import EMBEDDINGS
from schemas.money.pricing import NO_USAGE, bill
from workers.calls.serving import Serving
from workers.calls.tries import Tries


def usage_event(
    serving: Serving,
    job: Job,
    tries: Tries,
    *,
    outcome: Outcome,
    gives_way: bool,
    stream_begun: bool,
    began: float,
    first_byte_at: float | None,
    queued_ms: int,
) -> UsageEvent:
    """The event of an attempt that ends now. Times are time.monotonic().

    A call that its caller sees end with an HTTP error costs the caller nothing: it failed before a stream had begun.
    But a batch of embeddings of which a part was served before another was refused as the caller's own fault costs
    that part: else one input that is always refused, put last, would make all the others free.
    """
    refused_late = job.dialect == EMBEDDINGS and tries.refused and not gives_way
    billed = outcome is not Outcome.FAILED or stream_begun or refused_late
    wall_ms = int(time.time() * 1000)
    duration_ms = int((time.monotonic() - began) * 1000)
    return UsageEvent(
        request_id=job.request_id,
        attempt=job.attempt,
        worker_id=serving.worker_id,
        pool=serving.pool,
        provider=serving.provider,
        outcome=outcome,
        known=tries.known if billed else Known.ESTIMATED,
        usage=tries.usage if billed else NO_USAGE,
        uplifts=tries.uplifts if billed else (),
        tries=tuple(tries.made),
        queued_ms=queued_ms,
        first_byte_ms=int((first_byte_at - began) * 1000) if first_byte_at is not None else 0,
        duration_ms=duration_ms,
        finished_ms=wall_ms,
        candidate=job.candidate,
        gives_way=gives_way,
        tier_unsaid=billed and tries.tier_unsaid,
    )


def billed_nano(event: UsageEvent, job: Job) -> int | None:
    """What the ledger bills for the event of a call that ended well, while its hold is open; None where that is not known.

    No other attempt of the call can be billed beside it: whatever was replaced is our cost.
    """
    if job.price is None or job.hold_nano is None or not countable(event):
        return None
    if event.tier_unsaid and job.uplifts is None:
        return None
    uplifts = billed_uplifts(event, job.uplifts or ())
    return bill(event.usage, job.price, job.rate, uplifts, job.hold_nano)
