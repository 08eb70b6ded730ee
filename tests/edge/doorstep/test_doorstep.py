"""Who is let in first: who was served before, who says a key, one of each address in turn; and nobody who has left."""

import asyncio
import errno
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from edge.http import doorstep
from edge.http.doorstep import ACCEPTS_A_TURN, LET_IN_A_TURN, Doorstep
from edge.http.places import SERVED_MAX, Served
from runtime.peers import Trusted
from schemas import keys
from tests.edge.stand_ins import until

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
KEYED = HEAD + b"Authorization: Bearer " + keys.generate().encode() + b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)


class Guest(asyncio.Protocol):
    """A connection that says who it is and waits."""

    def __init__(self, rig: "Rig") -> None:
        self._rig = rig

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enters."""
        self._rig.transports.append(transport)
        self._rig.entered.append(transport.get_extra_info("peername")[0])


class Rig:
    """One listening socket, its callers, and who has entered, in order."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        self.listener.setblocking(False)
        self.stack = ExitStack()
        self.stack.enter_context(self.listener)
        self.served = Served()
        self.told: Counter[str] = Counter()
        self.entered: list[str] = []
        self.transports: list[asyncio.BaseTransport] = []
        self.step: Doorstep | None = None

    def comes(self, host: str, says: bytes = b"") -> socket.socket:
        """A caller from an address, taken by the system."""
        link = socket.socket()
        self.stack.enter_context(link)
        link.bind((host, 0))
        link.connect(self.listener.getsockname())
        if says:
            link.sendall(says)
        return link

    def opens(self, most: int = 1_000, trusted: str = "10.0.0.0/8") -> Doorstep:
        """From now on callers are let in."""
        self.step = Doorstep(
            self.listener,
            lambda: Guest(self),
            served=self.served,
            trusted=Trusted([ip_network(trusted)]),
            told=lambda why: self.told.update([why]),
            most=most,
        )
        return self.step

    async def close(self) -> None:
        """Lets everybody go."""
        if self.step is not None:
            self.step.close()
        for transport in self.transports:
            transport.close()
        await asyncio.sleep(0)
        self.stack.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        await made.close()


async def test_who_was_served_comes_first(rig: Rig) -> None:
    """Behind a hundred strangers a served address is let in at once; then who says a key; then the others."""
    rig.served.add("127.0.0.9")
    for number in range(100):
        rig.comes(f"127.1.0.{number + 1}", HEAD)
    rig.comes("127.0.0.8", KEYED)
    rig.comes("127.0.0.9")
    rig.opens()
    await until(lambda: len(rig.entered) == 102)
    assert rig.entered[:2] == ["127.0.0.9", "127.0.0.8"]
    assert rig.entered[2:] == [f"127.1.0.{number + 1}" for number in range(100)]


async def test_a_trusted_proxy_comes_first(rig: Rig) -> None:
    """It speaks for many: it is let in as if it had been served."""
    for number in range(40):
        rig.comes(f"127.1.0.{number + 1}", KEYED)
    rig.comes("127.7.0.1")
    rig.opens(trusted="127.7.0.0/16")
    await until(lambda: len(rig.entered) == 41)
    assert rig.entered[0] == "127.7.0.1"


@pytest.mark.parametrize("says", [b"", HEAD, KEYED])
async def test_addresses_take_turns(rig: Rig, says: bytes) -> None:
    """However many of one address wait, another's first is the second."""
    for _ in range(60):
        rig.comes("127.0.0.5", says)
    rig.comes("127.0.0.6", says)
    rig.opens()
    await until(lambda: len(rig.entered) == 61)
    assert rig.entered[:3] == ["127.0.0.5", "127.0.0.6", "127.0.0.5"]


async def test_whoever_has_left_never_enters(rig: Rig) -> None:
    """A connection that was reset, with what it had said or without, or that ended before a word, makes no protocol."""
    for says in (b"", KEYED + b"x" * 60_000):
        for number in range(1, 20):
            link = rig.comes(f"127.2.0.{number}", says)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            link.close()
    for number in range(1, 20):
        rig.comes(f"127.3.0.{number}").close()
    rig.comes("127.0.0.9", HEAD)
    rig.opens()
    await until(lambda: rig.told["left"] == 3 * 19)
    await until(lambda: rig.entered == ["127.0.0.9"])


async def test_a_half_closed_caller_is_heard(rig: Rig) -> None:
    """Who has said all and sends no more still waits for an answer."""
    rig.comes("127.0.0.9", HEAD).shutdown(socket.SHUT_WR)
    rig.opens()
    await until(lambda: rig.entered == ["127.0.0.9"])


async def test_few_are_let_in_at_a_time(rig: Rig) -> None:
    """In one turn of the loop no more become connections than there is room for: others have theirs between."""
    rig.served.add("127.0.0.9")
    for _ in range(200):
        rig.comes("127.0.0.9")
    rig.opens()
    most, before = 0, 0
    while len(rig.entered) < 200:
        await asyncio.sleep(0)
        most, before = max(most, len(rig.entered) - before), len(rig.entered)
    assert 0 < most <= LET_IN_A_TURN[0]


async def test_how_many_wait_is_bounded(rig: Rig) -> None:
    """Beyond the bound one of those that nobody knows is refused, and never one that was served."""
    rig.served.add("127.0.0.9")
    for number in range(100):
        rig.comes(f"127.4.0.{number + 1}", HEAD)
    rig.comes("127.0.0.9")
    rig.opens(most=20)
    await until(lambda: len(rig.entered) == 20)
    assert rig.entered[0] == "127.0.0.9"
    assert rig.told == {"waited": 81}
    assert len(rig.step or ()) == 0


async def test_without_descriptors_the_system_keeps_them(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be taken the step waits, says so, and goes on once there is room: nobody is lost."""
    monkeypatch.setattr(doorstep, "PAUSE_S", 0.01)

    class Full:
        def __init__(self, listener: socket.socket) -> None:
            self._listener = listener
            self.left = 3

        def fileno(self) -> int:
            return self._listener.fileno()

        def accept(self) -> object:
            if self.left:
                self.left -= 1
                raise OSError(errno.EMFILE, "none left")
            return self._listener.accept()

    full = Full(rig.listener)
    rig.listener = full  # type: ignore[assignment]  it stands in for one
    link = socket.socket()
    rig.stack.enter_context(link)
    link.connect(full._listener.getsockname())
    rig.opens()
    await until(lambda: len(rig.entered) == 1)
    assert rig.told == {"descriptors": 3}


async def test_closing_lets_all_go(rig: Rig) -> None:
    """Once it is closed nobody is taken any more, and whoever waited hears it."""
    waiting = [rig.comes(f"127.5.0.{number + 1}") for number in range(ACCEPTS_A_TURN)]
    step = rig.opens()
    while not rig.entered:  # each turn of the loop lets in a few
        await asyncio.sleep(0)
    entered = len(rig.entered)
    step.close()
    assert len(step) == 0
    rig.comes("127.0.0.9")
    for _ in range(20):
        await asyncio.sleep(0)
    assert all(transport.is_closing() for transport in rig.transports[entered:])
    assert len(rig.entered) < ACCEPTS_A_TURN
    waiting[-1].settimeout(5)
    assert waiting[-1].recv(1) == b""


def test_few_addresses_are_remembered() -> None:
    """Of the addresses that were served, the latest; one that is served again is the latest."""
    served = Served()
    for number in range(SERVED_MAX):
        served.add(f"a{number}")
    served.add("a0")
    served.add("new")
    assert "a0" in served
    assert "a1" not in served
    assert "new" in served
