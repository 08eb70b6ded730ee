"""Who is at the other end: PROXY protocol v2 from trusted proxies, cut anywhere and malformed, and what one address is."""

import random
import socket
from ipaddress import ip_network

import pytest

from runtime.peers import PREFACE_BYTES_MAX, SIGNATURE, Preface, PrefaceError, Trusted, share_of

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def header(host: str, port: int = 4_711, *, command: int = 0x21, family: int = 0, more: bytes = b"") -> bytes:
    """A PROXY header of version 2 for a source address."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.inet_pton(kind, host)
    block = address + address + port.to_bytes(2, "big") + (80).to_bytes(2, "big") + more
    family = family or (0x21 if kind == socket.AF_INET6 else 0x11)
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


@pytest.mark.parametrize("host", ["203.0.113.9", "2001:db8::7"])
@pytest.mark.parametrize("more", [b"", b"\x04\x00\x03abc" * 50])
def test_a_header_cut_anywhere_says_the_same(host: str, more: bytes) -> None:
    """A header in two pieces, cut at each byte, gives the address it names, and all that follows it."""
    data = header(host, more=more) + REQUEST
    end = len(data) - len(REQUEST)
    for cut in range(len(data) + 1):
        preface = Preface()
        said = preface.feed(data[:cut])
        if cut < end:
            assert said is None
            said = preface.feed(data[cut:])
        assert said == ((host, 4_711), REQUEST if cut < end else data[end:cut])


def test_no_header_is_no_harm() -> None:
    """A proxy that sends no header, looks at us itself, or has no address to tell speaks for itself."""
    assert Preface().feed(REQUEST) == (None, REQUEST)
    assert Preface().feed(b"\r\n" + REQUEST) == (None, b"\r\n" + REQUEST)
    assert Preface().feed(header("10.0.0.1", command=0x20) + REQUEST) == (None, REQUEST)
    assert Preface().feed(SIGNATURE + b"\x21\x00\x00\x00" + REQUEST) == (None, REQUEST)


@pytest.mark.parametrize(
    "data",
    [
        header("10.0.0.1", command=0x11),  # version 1
        header("10.0.0.1", command=0x22),  # no such command
        header("10.0.0.1", family=0x12),  # over UDP
        header("10.0.0.1", family=0x31),  # a socket of Unix
        header("10.0.0.1", family=0x21),  # an IPv4 address as IPv6
        SIGNATURE + b"\x21\x11\x00\x04\x01\x02\x03\x04",
        SIGNATURE + b"\x21\x11" + PREFACE_BYTES_MAX.to_bytes(2, "big"),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_a_malformed_header_is_refused(data: bytes) -> None:
    """What begins as a header and is none is refused, and a long one before it has come."""
    with pytest.raises(PrefaceError):
        Preface().feed(data)


def test_any_bytes_are_an_address_or_refused() -> None:
    """Whatever follows a signature, and however it is cut: an answer, a refusal, or a wait for bounded bytes."""
    dice = random.Random(3)
    for _ in range(5_000):
        data = bytearray(header("2001:db8::1" if dice.random() < 0.5 else "10.1.2.3"))
        for _ in range(dice.randint(0, 4)):
            data[dice.randrange(12, len(data))] = dice.randrange(256)
        preface = Preface()
        try:
            said = preface.feed(bytes(data[: dice.randrange(len(data))]))
            if said is None:
                said = preface.feed(bytes(PREFACE_BYTES_MAX))
        except PrefaceError:
            continue
        assert said is not None


def test_one_line_is_one_address() -> None:
    """IPv6 addresses count by their /64, mapped IPv4 ones as what they are."""
    assert share_of("2001:db8:0:1::1") == share_of("2001:db8:0:1:ffff::2") != share_of("2001:db8:0:2::1")
    assert share_of("::ffff:10.1.2.3") == share_of("10.1.2.3") == "10.1.2.3"
    assert share_of("fe80::1%eth0") == share_of("fe80::2")
    assert share_of("") == ""


def test_trusted_networks() -> None:
    """An address is trusted by the networks that are named, mapped into IPv6 or not; by default none is."""
    trusted = Trusted([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])
    assert all(one in trusted for one in ("10.255.0.1", "::ffff:10.1.1.1", "2001:db8:1::2"))
    assert not any(one in trusted for one in ("11.0.0.1", "2001:db9::1", "", "::ffff:11.0.0.1"))
    assert "127.0.0.1" not in Trusted()
