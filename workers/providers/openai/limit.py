"""Owns the output limit in a request: what a model calls it, and how it takes the place of every other."""

from typing import Final

from msgspec import Raw

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.request import CHAT

OLD: Final = "max_tokens"  # the only one of /v1/completions
NEW: Final = "max_completion_tokens"
NAMES: Final = (OLD, NEW)


def limit_name(job: Job, model: Model) -> str:
    """What the limit of this job is called."""
    return model.capabilities.limit_field if job.dialect == CHAT else OLD


def write_limit(fields: dict[str, Raw], name: str, limit: int) -> None:
    """Makes `name` the only limit."""
    for other in NAMES:
        if other != name:
            fields.pop(other, None)
    fields[name] = Raw(b"%d" % limit)
