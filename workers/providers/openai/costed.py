"""Owns the usage object that a caller of chat is shown: the upstream's own where it can be, else our estimate; with its cost."""

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.chat.usage_object import usage_object
from schemas.money.pricing import TokenUsage
from workers.answers.beliefs import believable, is_beyond
from workers.answers.costs import cost
from workers.providers.openai.usages import Usages

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def shown(job: Job, sent: Raw | None, usage: TokenUsage | None, output_bytes: int) -> Raw:
    """Usage for the caller, with the place of `cost` if the job wants that.

    `sent` is what the upstream sent and `usage` what was read of it, None if that was nothing that can be read.
    """
    raw = None
    if sent is not None and usage is not None and not is_beyond(job, usage):
        raw = Usages().told(sent)
    if raw is not None and not job.include_cost:
        return raw
    told = usage_object(believable(job, usage, output_bytes)) if raw is None else _decode_map(raw)
    return Raw(_encode(told | cost(job)))
