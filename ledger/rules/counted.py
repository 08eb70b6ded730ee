"""Owns where a hold counts beside its account: in periods of caps, and in rates."""

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
_encode = msgspec.json.Encoder().encode
_known: dict[str, Counted] = {"": NOWHERE}


def read_counted(limits: str) -> Counted:
    """Where a hold of these `limits` counts."""
    found = _known.get(limits)
    return _remember(limits, _decode(limits)) if found is None else found


def written(where: Counted) -> str:
    """The `limits` of a hold that counts there."""
    limits = _encode(where).decode()
    _remember(limits, where)
    return limits


def _remember(limits: str, where: Counted) -> Counted:
    if len(_known) >= READ_MAX:
        _known.clear()
        _known[""] = NOWHERE
    _known[limits] = where
    return where


def counted(hold: Hold) -> Counted:
    """Where a hold counts."""
    return read_counted(hold.limits)
