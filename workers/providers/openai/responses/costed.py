"""Owns the usage object that a caller of Responses is shown: the upstream's own where it can be, else our estimate; with its cost."""

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.money.pricing import TokenUsage
from workers.answers.beliefs import believable, is_beyond
from workers.answers.costs import cost
from workers.answers.responses.answer import usage_object
from workers.answers.said import Said
from workers.providers.counts import is_odd

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def shown(job: Job, sent: Raw, usage: TokenUsage | None, said: Said) -> Raw | None:
    """Usage for the caller, with the place of `cost` if the job wants that. None for what can stay as it was `sent`.

    `usage` is what was read of it, None if that was nothing that can be read.
    """
    sound = usage is not None and not is_beyond(job, usage) and not is_odd(sent)
    if sound and not job.include_cost:
        return None
    told = _decode_map(sent) if sound else usage_object(believable(job, usage, said))
    return Raw(_encode(told | cost(job)))
