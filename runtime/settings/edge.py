"""Owns how an edge treats connections, from `[edge]`: how it stops taking them, how long they rest, whose word it takes."""

from ipaddress import ip_network

from msgspec import Struct

from runtime.toml import Table

DRAIN_S = 0.0
KEEP_ALIVE_S = 75.0
PROXIES_MAX = 100
_DRAIN_MOST_S = 600
_KEEP_ALIVE_MOST_S = 3_600


class ConnectionSettings(Struct, frozen=True, kw_only=True):
    """An edge that is told to stop says so for `drain_s` before it takes no more connections.

    A connection without a request is closed after `keep_alive_s`. `trusted_proxies` are networks in CIDR form.
    """

    drain_s: float = DRAIN_S
    keep_alive_s: float = KEEP_ALIVE_S
    trusted_proxies: tuple[str, ...] = ()


def read_connections(edge: Table) -> ConnectionSettings:
    """The figures of a file. Raises SettingsError."""
    drain_s = edge.decimal("drain_s", most=_DRAIN_MOST_S)
    keep_alive_s = edge.decimal("keep_alive_s", least=1, most=_KEEP_ALIVE_MOST_S)
    return ConnectionSettings(
        drain_s=DRAIN_S if drain_s is None else float(drain_s),
        keep_alive_s=KEEP_ALIVE_S if keep_alive_s is None else float(keep_alive_s),
        trusted_proxies=read_proxies(edge),
    )


def read_proxies(table: Table) -> tuple[str, ...]:
    """The networks whose word on their callers' addresses is taken. Raises SettingsError."""
    proxies = table.texts("trusted_proxies") or ()
    if len(proxies) > PROXIES_MAX:
        raise table.problem("trusted_proxies", f"names more than {PROXIES_MAX} networks")
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError:
            why = f'"{proxy}" is neither an address nor a network such as "10.0.0.0/8"'
            raise table.problem("trusted_proxies", why) from None
    return proxies
