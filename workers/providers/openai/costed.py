"""Owns the usage object that a caller who wants its cost is shown: the upstream's own, or an estimate where it sent none."""

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.chat.usage_object import usage_object
from workers.answers.base import unreported
from workers.answers.costs import cost
from workers.answers.said import Said

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def costed(job: Job, usage: Raw | None, said: Said) -> Raw:
    """Usage with the place of `cost`. `usage` is what the upstream sent, None if that was none that can be read."""
    told = usage_object(unreported(job, said)) if usage is None else _decode_map(usage)
    return Raw(_encode(told | cost(job)))
