"""Owns who is at the other end of a connection: trusted proxies, what PROXY protocol v2 says, what counts as one address.

Nothing else is believed before a request: any stranger can write a header.
"""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_BYTES = 16  # signature, version and command, family, length
PREFACE_BYTES_MAX = 4_096  # of a whole header, with what a proxy adds to it
_LOCAL, _PROXY = 0x20, 0x21  # version 2 with its two commands
_FAMILIES = {
    0x11: (socket.AF_INET, 4),
    0x21: (socket.AF_INET6, 16),
}  # TCP over each, and the bytes of an address
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in an IPv6 one

Address = tuple[str, int]
Network = IPv4Network | IPv6Network


class PrefaceError(Exception):
    """What begins as a PROXY header and is none."""


def share_of(host: str) -> str:
    """What stands for an address: itself, or of IPv6 its /64, which is what one line is given. "" if there is none."""
    if ":" not in host:
        return host
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8].hex()


class Trusted:
    """The networks of the proxies that may say for whom they speak."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)

    def __contains__(self, host: str) -> bool:
        """Whether an address is one of theirs."""
        if not self._networks:
            return False
        try:
            address = ip_address(share_of(host) if host.startswith("::ffff:") else host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Preface:
    """The first bytes of a trusted proxy's connection, as they come."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[Address | None, bytes] | None:
        """The address that the proxy speaks for (None: its own), and what follows; None while more must come.

        A connection that begins with anything else than the signature has no header. Raises PrefaceError.
        """
        self._data = data = self._data + data
        if not data.startswith(SIGNATURE):
            return None if SIGNATURE.startswith(data) else (None, data)
        if len(data) < _FIXED_BYTES:
            return None
        end = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
        if end > PREFACE_BYTES_MAX:
            raise PrefaceError(f"a header of {end} bytes")
        if len(data) < end:
            return None
        return _source(data[12], data[13], data[_FIXED_BYTES:end]), data[end:]


def _source(command: int, family: int, block: bytes) -> Address | None:
    if command == _LOCAL:
        return None  # the proxy's own look at us
    if command != _PROXY:
        raise PrefaceError(f"version and command {command:#x}")
    if family == 0:
        return None  # a way that the proxy has no address for
    if family not in _FAMILIES:
        raise PrefaceError(f"family {family:#x}")
    kind, size = _FAMILIES[family]
    if len(block) < 2 * size + 4:
        raise PrefaceError(f"{len(block)} bytes of addresses")
    port = int.from_bytes(block[2 * size : 2 * size + 2], "big")
    return socket.inet_ntop(kind, block[:size]), port
