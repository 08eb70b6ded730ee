"""Owns which connections an edge keeps: how many, whose, and which of them gives way to a new one.

The connection longest without a request gives way first, then the one that has been receiving a request's body
longest. One whose request is being answered, or whose key is known, never does.
"""

import time
from collections import OrderedDict
from typing import Protocol

from edge import telemetry
from runtime.log import get_logger

CROWDED_ABOVE = 0.5  # of the connections: an address's share applies while there are more
ADDRESS_SHARE = 0.05  # of the connections
ADDRESS_SHARE_LEAST = 16
LOOKS_MAX = 64  # connections of one address that are looked at for one to give way
SERVED_MAX = 4_096  # addresses that are remembered, the latest
LOG_GAP_S = 60.0  # between two lines about one reason

_logger = get_logger("edge.http.places")


class Guest(Protocol):
    """A connection, as far as its place is concerned."""

    def give_way(self) -> None:
        """Ends the connection now."""


class Served:
    """Addresses from which a call was made on a living key, the latest: they are let in before others."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, address: str) -> bool:
        """Whether one is remembered."""
        return address in self._addresses

    def add(self, address: str) -> None:
        """One was served now."""
        self._addresses[address] = None
        self._addresses.move_to_end(address)
        if len(self._addresses) > SERVED_MAX:
            self._addresses.popitem(last=False)


class Places:
    """All connections, in the order in which they give way. An address is whatever stands for one; "" has no share."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.served = Served()
        self.draining = False  # each answer is the last on its connection
        self._share = max(int(most * ADDRESS_SHARE), ADDRESS_SHARE_LEAST)
        self._guests: dict[Guest, str] = {}
        self._idle: dict[Guest, None] = {}  # without a request, longest first
        self._receiving: dict[Guest, None] = {}  # with a body that is on its way, longest first
        self._of: dict[str, dict[Guest, None]] = {}
        self._told: dict[
            str, tuple[float, int]
        ] = {}  # by reason: the last line's moment, and what was counted since

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def crowded(self) -> bool:
        """Whether connections are scarce: an address has its share then, and a stranger's last word is not worth an answer."""
        return len(self._guests) > self.most * CROWDED_ABOVE

    @property
    def working(self) -> int:
        """How many do not give way."""
        return len(self._guests) - len(self._idle) - len(self._receiving)

    @property
    def at_work(self) -> bool:
        """Whether any has a request."""
        return len(self._guests) > len(self._idle)

    @property
    def receiving(self) -> int:
        """How many have a request whose body is on its way, under a key that nobody knows yet."""
        return len(self._receiving)

    def enter(self, guest: Guest, address: str) -> bool:
        """Takes a connection in, if need be in place of another; False if none gives way."""
        if len(self._guests) >= self.most and not self._make_room():
            self.tell("refused")
            return False
        self._guests[guest] = ""
        self._idle[guest] = None
        return self.name(guest, address)

    def name(self, guest: Guest, address: str) -> bool:
        """Says whose a connection is. False if its address has its share, and none of that gives way."""
        if not address:
            return True
        mates = self._of.get(address, {})
        if self.crowded and len(mates) >= self._share and not self._make_room_among(mates):
            self.tell("share")
            return False
        mates[guest] = None
        self._of[address] = mates
        self._guests[guest] = address
        return True

    def leave(self, guest: Guest) -> None:
        """Forgets a connection, if it is known."""
        address = self._guests.pop(guest, None)
        if address is None:
            return
        self._idle.pop(guest, None)
        self._receiving.pop(guest, None)
        if address:
            mates = self._of[address]
            del mates[guest]
            if not mates:
                del self._of[address]

    def rest(self, guest: Guest) -> None:
        """From now on a connection is without a request."""
        if guest in self._guests:
            self._receiving.pop(guest, None)
            self._idle.pop(guest, None)
            self._idle[guest] = None

    def receive(self, guest: Guest) -> None:
        """From now on it is receiving a body, under what has a key's form."""
        self._idle.pop(guest, None)
        if guest in self._guests:
            self._receiving[guest] = None

    def work(self, guest: Guest) -> None:
        """From now on its request is being answered: it does not give way."""
        self._idle.pop(guest, None)
        self._receiving.pop(guest, None)

    def _make_room(self) -> bool:
        for waiting in (self._idle, self._receiving):
            if waiting:
                self._end(next(iter(waiting)), "limit")
                return True
        return False

    def _make_room_among(self, mates: dict[Guest, None]) -> bool:
        for _ in range(min(LOOKS_MAX, len(mates))):
            guest = next(iter(mates))
            if guest in self._idle or guest in self._receiving:
                self._end(guest, "share")
                return True
            del mates[guest]  # it works: the next look begins behind it
            mates[guest] = None
        return False

    def _end(self, guest: Guest, why: str) -> None:
        self.leave(guest)
        self.tell(why)
        guest.give_way()

    def tell(self, why: str) -> None:
        """Counts what was refused or ended, and says so in the log now and then."""
        telemetry.LET_GO[why].inc()
        now = time.monotonic()
        at, count = self._told.get(why, (float("-inf"), 0))
        count += 1
        if now - at >= LOG_GAP_S:
            _logger.warning(_WORDS[why], connections=self.most, since_the_last_line=count)
            at, count = now, 0
        self._told[why] = at, count


_WORDS = {
    "limit": "there are as many connections as there may be; the one longest without a request gives way",
    "share": "an address has its share of the connections; one of its own gives way, or is refused",
    "refused": "there are as many connections as there may be, and all have requests; a new one is refused",
    "waited": "more connections wait to be let in than may; one of those that nobody knows is refused",
    "left": "a connection was left before it was let in",
    "descriptors": "no connection can be taken: there is no descriptor left, or no memory",
    "preface": "a trusted proxy sent a PROXY header that cannot be read",
}
