"""Owns where a usage object says what its call is billed: a place that is filled once the bill is known and durable."""

import secrets
from typing import Final

from msgspec import Raw

from schemas.bus.frames import Job
from schemas.money.amounts import nano_to_usd

# Nobody can guess it, so nothing that a model or a provider says is taken for it.
_PLACE: Final = b'"%b"' % secrets.token_hex(16).encode()
_COST: Final = {"cost": Raw(_PLACE)}


def cost(job: Job) -> dict[str, Raw]:
    """What a usage object has beside its counts: the place of `cost`, or nothing unless the job wants it."""
    return dict(_COST) if job.include_cost else {}


def place(data: bytes) -> int:
    """Where the place stands in some bytes of an answer; -1 if it does not."""
    return data.find(_PLACE)


def filled(data: bytes, billed_nano: int | None) -> bytes:
    """The same bytes with the bill in its place: exact USD as a JSON number, or null where it is not certain."""
    return data.replace(_PLACE, b"null" if billed_nano is None else nano_to_usd(billed_nano).encode(), 1)
