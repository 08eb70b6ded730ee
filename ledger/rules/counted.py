"""Owns where a hold counts beside its account: in periods of caps, and in rates."""

from functools import lru_cache

import msgspec
from msgspec import Struct

from ledger.rules.rows import Hold


class Counted(Struct, frozen=True, omit_defaults=True):
    """Where a hold counts: ids of periods of caps, scopes of rates, tokens that it reserved there, second of admission."""

    p: tuple[str, ...] = ()
    r: tuple[str, ...] = ()
    t: int = 0
    s: int = 0


READ_MAX = 4_096  # remembered: a hold's are read several times, and calls of one second often have the same
NOWHERE = Counted()
_decode = msgspec.json.Decoder(Counted).decode


@lru_cache(maxsize=READ_MAX)
def read_counted(limits: str) -> Counted:
    """Where a hold of these `limits` counts."""
    return _decode(limits) if limits else NOWHERE


def counted(hold: Hold) -> Counted:
    """Where a hold counts."""
    return read_counted(hold.limits)
