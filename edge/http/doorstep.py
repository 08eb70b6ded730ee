"""Owns the step before a connection: who of those that the system has taken is let in next, who waits, and who is dead.

To make a connection of a socket costs many times what it costs to take and look at it. So all are taken at once, and let
in by turns: first from addresses that have been served on a living key, then those that say what has a key's form, then
the others, within each line one of each address in turn. Whoever has left meanwhile never becomes a connection.
"""

import asyncio
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from edge.http.places import Served
from runtime.peers import Trusted, share_of
from schemas.keys import PREFIX

ACCEPTS_A_TURN: Final = 128
LOOKS_A_TURN: Final = 64  # at sockets of one line, for who is still there
LET_IN_A_TURN: Final = (32, 2, 2)  # of each line: what a stranger costs delays all who wait for the same turn
PEEK_BYTES: Final = 2_048  # in which a key is looked for
PAUSE_S: Final = 0.1  # before the next try, where the system has no descriptor
_KEY: Final = PREFIX.encode()


class _Line:
    """Sockets that wait, one of each address in turn."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[socket.socket]] = OrderedDict()
        self.count = 0

    def add(self, address: str, link: socket.socket) -> None:
        self._of.setdefault(address, deque()).append(link)
        self.count += 1

    def pop(self) -> socket.socket:
        """The next, of a line that is not empty."""
        address, links = self._of.popitem(last=False)
        link = links.popleft()
        if links:
            self._of[address] = links
        self.count -= 1
        return link


class Doorstep:
    """One listening socket. `make` makes a protocol, `told` hears why a socket was let go; at most `most` wait."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        served: Served,
        trusted: Trusted,
        told: Callable[[str], None],
        most: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make = make
        self._served = served
        self._trusted = trusted
        self._told = told
        self._most = most
        self._lines = (_Line(), _Line(), _Line())
        self._entering: set[asyncio.Task[None]] = set()
        self._next: asyncio.Handle | None = None  # the next turn, while somebody waits
        self._pause: asyncio.Handle | None = None
        self._closed = False
        self._listen()

    def __len__(self) -> int:
        return sum(line.count for line in self._lines)

    def is_serving(self) -> bool:
        """Whether callers are taken."""
        return not self._closed

    def close(self) -> None:
        """Takes nobody any more; whoever waits is let go."""
        self._closed = True
        self._loop.remove_reader(self._listener)
        for handle in (self._next, self._pause):
            if handle is not None:
                handle.cancel()
        for line in self._lines:
            while line.count:
                line.pop().close()

    async def wait_closed(self) -> None:
        """Waits until nobody is between the step and a connection any more."""
        while self._entering:
            await asyncio.wait(self._entering)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                link, peer = self._listener.accept()
            except BlockingIOError:
                break
            except ConnectionAbortedError:
                continue
            except OSError:  # no descriptor, or no memory: whoever waits in the system waits on
                self._told("descriptors")
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(PAUSE_S, self._listen)
                break
            self._place(link, peer[0])
        if self._next is None:
            self._turn(fresh=True)

    def _place(self, link: socket.socket, host: str) -> None:
        address = share_of(host)
        if address in self._served or host in self._trusted:
            line = self._lines[0]
        elif (said := _said(link)) is None:
            self._let_go(link, "left")
            return
        else:
            line = self._lines[1 if _KEY in said else 2]
        if len(self) >= self._most:
            last = next(one for one in reversed(self._lines) if one.count)
            self._let_go(last.pop(), "waited")
        line.add(address, link)

    def _turn(self, *, fresh: bool = False) -> None:
        # Whoever has come just now was looked at, or is known.
        for line, room in zip(self._lines, LET_IN_A_TURN, strict=True):
            entered = 0
            for _ in range(LOOKS_A_TURN):
                if entered == room or not line.count:
                    break
                link = line.pop()
                if not fresh and _said(link) is None:
                    self._let_go(link, "left")
                else:
                    entered += 1
                    task = self._loop.create_task(self._enter(link))
                    self._entering.add(task)
                    task.add_done_callback(self._entering.discard)
        self._next = self._loop.call_soon(self._turn) if len(self) else None

    async def _enter(self, link: socket.socket) -> None:
        link.setblocking(False)
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._make, link)
        except OSError:
            self._let_go(link, "left")
        else:
            if self._closed:
                transport.close()

    def _let_go(self, link: socket.socket, why: str) -> None:
        self._told(why)
        link.close()


def _said(link: socket.socket) -> bytes | None:
    """What a socket has to read, which stays there; None for one that has left. What it sent before may still be there."""
    if link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return None
    try:
        return link.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None
