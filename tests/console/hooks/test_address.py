"""Addresses: nothing that only this machine can reach may be reached, whatever it is called, and what was looked at is what is used."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from console.hooks.address import Refused, problem, target_of

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::808:808")
INSIDE = (
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.8",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
)
NEVER = ("169.254.169.254", "0.0.0.0", "::", "fe80::1", "224.0.0.1", "fd00:ec2::254", "100.100.100.200")


def lookup(*addresses: str):
    """What a name leads to, and how often that was asked."""
    asked: list[str] = []

    async def found(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    found.asked = asked
    return found


@pytest.mark.parametrize("address", INSIDE)
async def test_inside(address: str) -> None:
    """Every kind of address that is not public is refused, plain, mapped, translated or tunnelled, as a name and as it is."""
    assert problem(ip_address(address), allow_private=False)
    for found in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        with pytest.raises(Refused):
            await target_of("https://example.com/", allow_private=False, lookup=lookup(*found))


@pytest.mark.parametrize("address", PUBLIC)
async def test_public(address: str) -> None:
    """A public address may be sent to, over TLS alone; it is what is connected to, and its name stays."""
    asked = lookup(address)
    target = await target_of("https://example.com:8443/a?b=c", allow_private=False, lookup=asked)
    assert target.addresses == (address,)
    assert (target.host, target.port, target.path) == ("example.com", 8443, "/a?b=c")
    assert target.authority == "example.com:8443"
    assert asked.asked == ["example.com"], "once"
    with pytest.raises(Refused):
        await target_of("http://example.com/", allow_private=False, lookup=asked)
    with pytest.raises(Refused):
        await target_of("http://example.com/", allow_private=True, lookup=asked)


@pytest.mark.parametrize("address", NEVER)
async def test_what_is_never_allowed(address: str) -> None:
    """Addresses of the link, of no one, and of clouds' credentials are refused even where private ones are allowed."""
    with pytest.raises(Refused):
        await target_of("https://example.com/", allow_private=True, lookup=lookup(address))


async def test_private_ones_where_they_are_allowed() -> None:
    """Where an operator allows it, private addresses are sent to over TLS, and this machine also without."""
    for address in ("10.0.0.1", "192.168.1.1", "127.0.0.1", "::1", "fc00::1"):
        await target_of("https://a.internal/", allow_private=True, lookup=lookup(address))
    await target_of("http://localhost:9000/", allow_private=True, lookup=lookup("127.0.0.1"))
    with pytest.raises(Refused):
        await target_of("http://a.internal/", allow_private=True, lookup=lookup("10.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://[::ffff:7f00:1]/",
        "https://localhost/",
    ],
)
async def test_other_ways_to_write_it(url: str) -> None:
    """An address of this machine is found out as the machine itself resolves it, however it is written."""
    with pytest.raises((Refused, OSError)):
        await target_of(url, allow_private=False)
