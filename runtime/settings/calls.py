"""Owns how long calls may take, from `[calls]` and `[edge] grace_s`: every service follows the same figures."""

from msgspec import Struct

from runtime.toml import Table

IDLE_S = 600.0
TOTAL_S = 7_200.0
DRAIN_S = 300.0
_LEAST_S = 1
_MOST_S = 86_400


class CallSettings(Struct, frozen=True, kw_only=True):
    """Seconds: a stream ends after `idle_s` without a byte of its upstream, and every call after `total_s`.

    A service that is told to stop gives the calls that it has `grace_s`. An answer whose caller has left is read on for
    `drain_s` at most, and no longer than its call would have had.
    """

    idle_s: float = IDLE_S
    total_s: float = TOTAL_S
    grace_s: float = TOTAL_S
    drain_s: float = DRAIN_S


def read_calls(calls: Table, edge: Table) -> CallSettings:
    """The figures of a file. What is left out follows the total: no less patience, and no shorter grace. Raises SettingsError."""
    total_s = _seconds(calls, "total_s", TOTAL_S)
    idle_s = _seconds(calls, "idle_s", min(IDLE_S, total_s))
    if idle_s > total_s:
        raise calls.problem("idle_s", f"must be at most total_s, which is {total_s:g}")
    drain_s = _seconds(calls, "drain_s", DRAIN_S)
    grace_s = _seconds(edge, "grace_s", total_s, least=0)
    calls.done()
    return CallSettings(idle_s=idle_s, total_s=total_s, grace_s=grace_s, drain_s=drain_s)


def _seconds(table: Table, key: str, default: float, least: int = _LEAST_S) -> float:
    value = table.decimal(key, least=least, most=_MOST_S)
    return default if value is None else float(value)
