"""Owns every bound and deadline of a console, in one place and with its unit in its name."""

from msgspec import Struct

from runtime.http import HttpLimits
from schemas.admin.operators import TRIES_MAX


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of one console."""

    http: HttpLimits = HttpLimits()
    ledger_s: float = 5.0  # a ledger may be restarted meanwhile
    ledger_try_s: float = 2.0
    ledger_pause_s: float = 0.1
    audit_s: float = 600.0  # an audit that somebody asked for
    reload_s: float = 300.0  # a reload that somebody asked for
    ready_s: float = 1.0
    proof_s: float = 20.0  # a ledger may have to read a provider's keys first
    sign_ins: int = TRIES_MAX  # of one address, each minute
    addresses: int = 4_096  # that are remembered for it
    exports: int = 2  # at once, of one credential
    stripe_events: int = 8  # that a ledger is asked about at once
    again_s: int = 3  # until a page without a ledger asks again by itself


LIMITS = Limits()
