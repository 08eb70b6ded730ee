"""Owns where a webhook may be sent: its name is resolved once, and what it leads to must be no address of our own.

Whoever registers an endpoint chooses what this machine connects to. So nothing that only this machine can reach may be
reached by it: not itself, its network, or the service that tells a cloud's machine its credentials.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from msgspec import Struct

from schemas.webhooks import split

Address = IPv4Address | IPv6Address
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]  # the addresses of a name
ADDRESSES_MAX: Final = 3  # that are tried in turn
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")
_SHARED: Final = ip_network("100.64.0.0/10")
# Assigned to protocols: not every version of Python knows all of them as such.
_SPECIAL: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23")))
# Where clouds tell a machine its credentials. That of IPv4 is link-local, which is never allowed.
_METADATA: Final = (ip_address("fd00:ec2::254"), ip_address("100.100.100.200"))


class Refused(Exception):  # noqa: N818  the name says what is the case
    """Nothing may be sent there, and why."""


class Target(Struct, frozen=True):
    """Where to connect, and under which name."""

    addresses: tuple[str, ...]
    port: int
    host: str
    secure: bool
    path: str

    @property
    def authority(self) -> str:
        """What the header Host says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


def plain(address: Address) -> Address:
    """The address that another one stands for: mapped, translated and tunnelled ones have an IPv4 address inside."""
    if not isinstance(address, IPv6Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address


def problem(address: Address, *, allow_private: bool) -> str:
    """Why nothing may be sent to an address; empty if it may."""
    one = plain(address)
    unicast = not isinstance(one, IPv6Address) or one in _UNICAST
    special = any(one in network for network in _SPECIAL) or one in _METADATA
    if one.is_global and not one.is_multicast and unicast and not special:
        return ""
    never = one.is_link_local or one.is_multicast or one.is_unspecified or one in _METADATA
    private = one.is_loopback or one.is_private or (isinstance(one, IPv4Address) and one in _SHARED)
    if allow_private and private and not never and not (one.is_reserved and not one.is_loopback):
        return ""
    return f"{address} is no public address"


async def looked_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as this machine resolves it. Raises OSError."""
    found: Any = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


async def target_of(url: str, *, allow_private: bool, lookup: Lookup = looked_up) -> Target:
    """Where a URL leads. All addresses of its name must be allowed. Raises Refused, OSError."""
    parts = split(url)
    if parts is None or parts.hostname is None:
        raise Refused("the URL cannot be read")
    secure = parts.scheme == "https"
    if not secure and not allow_private:
        raise Refused("plain http is not allowed")
    port = parts.port or (443 if secure else 80)
    found = [ip_address(one.partition("%")[0]) for one in await lookup(parts.hostname, port)]
    if not found:
        raise Refused(f"{parts.hostname} has no address")
    for address in found:
        if why := problem(address, allow_private=allow_private):
            raise Refused(why)
        if not secure and not plain(address).is_loopback:
            raise Refused("plain http is for this machine alone")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    addresses = tuple(dict.fromkeys(map(str, found)))[:ADDRESSES_MAX]
    return Target(addresses, port, parts.hostname, secure, path)
