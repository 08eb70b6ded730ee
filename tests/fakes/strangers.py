"""Owns a crowd without a key: connections from all of 127.0.0.0/8 to one port, each ill-behaved in one shape.

`python -m tests.fakes.strangers PORT SHAPE SECONDS` opens as many as one core can and prints figures as JSON.
`python -m tests.fakes.strangers burn SHARE SECONDS` spends that share of a core on nothing, for comparison.
"""

import contextlib
import errno
import json
import random
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from typing import Any

from msgspec import Struct

from schemas import keys
from tests.fakes.tokn import ROOT

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
_DESCRIPTORS_KEPT = 64
_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, by the whole pair of addresses
_TURN = 32  # connections opened between two looks at the others
_DRIPS = 256  # bytes sent to slow ones in such a look
_DRIP_GAP_S = 1.0


class Shape(Struct, frozen=True):
    """How a stranger behaves: what it says, how long it stays, what it adds each second, and how it leaves."""

    says: bytes = b""
    stays_s: float = 3_600.0
    drips: bytes = b""
    resets: bool = False
    ends: bool = False  # half-closes after what it says


def _head(*lines: str) -> bytes:
    return "\r\n".join(("POST /v1/chat/completions HTTP/1.1", "Host: tokn", *lines, "")).encode()


_LENGTH = "Content-Length: 1000000"
_KEYED = f"Authorization: Bearer {keys.generate()}"  # has the form of a key, and nobody has it
SHAPES = {
    "reset": Shape(_head(_LENGTH) + b"\r\n" + b"x" * 60_000, stays_s=0.05, resets=True),
    "reset with a key": Shape(_head(_LENGTH, _KEYED) + b"\r\n" + b"x" * 60_000, stays_s=0.05, resets=True),
    "slow head": Shape(_head("X-Slow: "), drips=b"x"),
    "slow body": Shape(_head("Content-Length: 60000") + b"\r\n{", drips=b" "),
    "slow body with a key": Shape(_head("Content-Length: 60000", _KEYED) + b"\r\n{", drips=b" "),
    "idle": Shape(),
    "pipelined": Shape(b"GET /v1/models HTTP/1.1\r\nHost: tokn\r\n\r\n" * 32),
    "half-closed": Shape(_head(_LENGTH) + b"\r\n{", ends=True),
}


class Crowd:
    """All connections of one shape, no more than there are descriptors for: the oldest makes room."""

    def __init__(self, port: int, shape: Shape) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._most = min(hard, 60_000) - _DESCRIPTORS_KEPT
        self._address = ("127.0.0.1", port)
        self._shape = shape
        self._dice = random.Random(port)
        self._poll = select.epoll()
        self._held: dict[int, tuple[socket.socket, float]] = {}  # by descriptor, the oldest first
        self._slow: deque[tuple[float, int, socket.socket]] = deque()
        self.opened = self.failed = self.answered = self.closed = 0

    def open(self) -> None:
        """One more."""
        dice, shape = self._dice, self._shape
        source = f"127.{dice.randrange(1, 255)}.{dice.randrange(256)}.{dice.randrange(1, 255)}"
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            link.setsockopt(socket.SOL_IP, _NO_PORT, 1)
            link.bind((source, 0))
            link.connect_ex(self._address)  # on one machine it is mostly done at once
            wants = select.EPOLLIN | select.EPOLLRDHUP
            if not self._say(link):
                wants |= select.EPOLLOUT
        except OSError:
            self.failed += 1
            link.close()
            return
        self.opened += 1
        now = time.monotonic()
        self._held[link.fileno()] = link, now + shape.stays_s
        self._poll.register(link, wants)
        if shape.drips:
            self._slow.append((now + _DRIP_GAP_S, link.fileno(), link))

    def _say(self, link: socket.socket) -> bool:
        """Whether a connection is there, and has said what it says. Raises OSError."""
        try:
            if self._shape.says:
                link.send(self._shape.says)
            if self._shape.ends:
                link.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOTCONN):
                return False
            raise
        return True

    def look(self) -> None:
        """Reads what was answered, lets go of what the other side has closed, and goes on with what is slow."""
        for descriptor, events in self._poll.poll(0, 1_024):
            if events & select.EPOLLOUT and descriptor in self._held:
                with contextlib.suppress(OSError):
                    self._say(self._held[descriptor][0])
                self._poll.modify(descriptor, select.EPOLLIN | select.EPOLLRDHUP)
            if events & ~select.EPOLLOUT:
                self._read(descriptor)
        now = time.monotonic()
        while self._held and (len(self._held) >= self._most or next(iter(self._held.values()))[1] <= now):
            self._leave(next(iter(self._held)))
        for _ in range(min(_DRIPS, len(self._slow))):
            due, descriptor, link = self._slow[0]
            if due > now:
                break
            self._slow.popleft()
            if self._held.get(descriptor, (None,))[0] is not link:
                continue
            try:
                link.send(self._shape.drips)
            except OSError:
                self._leave(descriptor)
            else:
                self._slow.append((now + _DRIP_GAP_S, descriptor, link))

    def _read(self, descriptor: int) -> None:
        try:
            piece = self._held[descriptor][0].recv(65_536)
        except OSError:
            piece = b""
        if piece:
            self.answered += piece.startswith(b"HTTP/1.1 ")
        else:
            self.closed += 1
            self._leave(descriptor)

    def _leave(self, descriptor: int) -> None:
        link, _ = self._held.pop(descriptor)
        if self._shape.resets:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        link.close()

    def close(self) -> None:
        """All leave."""
        for descriptor in list(self._held):
            self._leave(descriptor)
        self._poll.close()


def crowd(port: int, shape: str, seconds: float, rate: float = 0.0) -> dict[str, Any]:
    """Runs a crowd in this process, at most `rate` connections a second (0: as many as can be). Its figures."""
    people = Crowd(port, SHAPES[shape])
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        room = _TURN if not rate else min(_TURN, int((now - began) * rate) - people.opened - people.failed)
        for _ in range(room):
            people.open()
        people.look()
        if room <= 0:
            select.select([], [], [], 0.005)
    elapsed = time.monotonic() - began
    people.close()
    return {
        "shape": shape,
        "a_second": round(people.opened / elapsed),
        "opened": people.opened,
        "failed": people.failed,
        "answered": people.answered,
        "closed": people.closed,
        "cpu_share": round(time.process_time() / elapsed, 2),
    }


def burn(share: float, seconds: float) -> None:
    """Spends a share of one core, in turns of 10 ms."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        while time.monotonic() < now + 0.01 * min(share, 1.0):
            pass
        if share < 1.0:
            select.select([], [], [], 0.01 * (1.0 - share))


def start(*arguments: object) -> subprocess.Popen[str]:
    """A crowd, or a burner, in a process of its own; what it prints comes from its standard output."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.strangers", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


if __name__ == "__main__":
    first, second, *rest = sys.argv[1:]
    if first == "burn":
        burn(float(second), float(rest[0]))
    else:
        sys.stdout.write(json.dumps(crowd(int(first), second, *map(float, rest))))
