"""Owns which connections an edge keeps: how many, whose, and which of them gives way to a new one.

Strangers give way first: the connection longest without a request, then the one that has been receiving a body longest.
Connections on which a living key was heard follow in the same order. One whose request is being answered never gives way.
"""

import time
from collections import OrderedDict
from typing import Protocol

from edge import telemetry
from runtime.log import get_logger

CROWDED_ABOVE = 0.5  # of the connections: an address's share applies while there are more
ADDRESS_SHARE = 0.05  # of the connections
ADDRESS_SHARE_LEAST = 16
LINE_SHARE = 0.5  # of the connections, or of an address's share: a longer line gives way first
BODIES_SHARE = 0.5  # of the connections: with a stranger's body each takes twice its memory
BODIES_SHARE_LEAST = 64
LOOKS_MAX = 64  # connections of one address that are looked at for one to give way
SERVED_MAX = 4_096  # addresses that are remembered, the latest
LOG_GAP_S = 60.0  # between two lines about one reason

_logger = get_logger("edge.http.places")


class Company:
    """Connections that are alike: those of strangers, or those on which a living key was heard."""

    def __init__(self) -> None:
        self.idle: dict[Guest, None] = {}  # without a request, longest first
        self.receiving: dict[Guest, None] = {}  # with a body that is on its way, longest first
        self.of: dict[str, dict[Guest, None]] = {}  # by address, those at work as well


class Guest(Protocol):
    """A connection, as far as its place is concerned. `Places` alone changes where it stands."""

    company: Company | None  # None: it has no place
    line: dict["Guest", None] | None  # of its company, in which it waits; None: it does not give way

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
        self._bodies = max(int(most * BODIES_SHARE), BODIES_SHARE_LEAST)
        self._share = max(int(most * ADDRESS_SHARE), ADDRESS_SHARE_LEAST)
        self._guests: dict[Guest, str] = {}
        self._strangers = Company()
        self._callers = Company()
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
        return len(self._guests) - sum(map(len, self._lines()))

    @property
    def at_work(self) -> bool:
        """Whether any has a request."""
        return len(self._guests) > len(self._strangers.idle) + len(self._callers.idle)

    @property
    def receiving(self) -> int:
        """How many strangers have a request whose body is on its way, under a key that nobody knows yet."""
        return len(self._strangers.receiving)

    def enter(self, guest: Guest, address: str) -> bool:
        """Takes a connection in as a stranger's, if need be in place of another; False if none gives way."""
        if len(self._guests) >= self.most and not self._make_room():
            self.tell("refused")
            return False
        self._guests[guest] = ""
        guest.company, guest.line = self._strangers, None
        self.rest(guest)
        return self.name(guest, address)

    def name(self, guest: Guest, address: str) -> bool:
        """Says whose a stranger's connection is. False if its address has its share, and none of that gives way."""
        if not address:
            return True
        if self.crowded and not self._has_room_among(address):
            self.tell("share")
            return False
        self._strangers.of.setdefault(address, {})[guest] = None
        self._guests[guest] = address
        return True

    def leave(self, guest: Guest) -> None:
        """Forgets a connection, if it is known."""
        address = self._guests.pop(guest, None)
        if address is None:
            return
        self.work(guest)
        if guest.company is not None:
            _part(guest, guest.company, address)
        guest.company = None

    def rest(self, guest: Guest) -> None:
        """From now on a connection is without a request."""
        if guest.company is not None:
            _stand(guest, guest.company.idle)

    def receive(self, guest: Guest) -> None:
        """From now on it is receiving a body, under what has a key's form. Of strangers' the longest may give way to it."""
        company = guest.company
        if company is not None:
            _stand(guest, company.receiving)
            if len(company.receiving) > self._bodies and company is self._strangers:
                self._end(next(iter(company.receiving)), "bodies")

    def work(self, guest: Guest) -> None:
        """From now on its request is being answered: it does not give way."""
        line = guest.line
        if line is not None:
            del line[guest]
            guest.line = None

    def trust(self, guest: Guest) -> None:
        """A living key was heard on it, whose request is being answered: it is no stranger's any more."""
        self.work(guest)
        if guest.company is self._strangers:
            address = self._guests[guest]
            _part(guest, self._strangers, address)
            guest.company = self._callers
            if address:
                self._callers.of.setdefault(address, {})[guest] = None

    def _lines(self) -> tuple[dict[Guest, None], ...]:
        strangers, callers = self._strangers, self._callers
        return strangers.idle, strangers.receiving, callers.idle, callers.receiving

    def _make_room(self) -> bool:
        lines = self._lines()
        half = int(self.most * LINE_SHARE)
        line = next((one for one in lines if len(one) > half), None) or next(filter(None, lines), None)
        if line is None:
            return False
        self._end(next(iter(line)), "limit")
        return True

    def _has_room_among(self, address: str) -> bool:
        strangers = self._strangers.of.get(address, {})
        callers = self._callers.of.get(address, {})
        if len(strangers) + len(callers) < self._share:
            return True
        if len(callers) > self._share * LINE_SHARE:
            return self._make_room_among(callers) or self._make_room_among(strangers)
        return self._make_room_among(strangers) or self._make_room_among(callers)

    def _make_room_among(self, mates: dict[Guest, None]) -> bool:
        for _ in range(min(LOOKS_MAX, len(mates))):
            guest = next(iter(mates))
            if guest.line is not None:
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


def _stand(guest: Guest, line: dict[Guest, None]) -> None:
    """Puts a connection at the end of a line, out of the one in which it stood."""
    if guest.line is not None:
        del guest.line[guest]
    guest.line = line
    line[guest] = None


def _part(guest: Guest, company: Company, address: str) -> None:
    """Takes a connection from its address's in a company."""
    if address:
        mates = company.of[address]
        del mates[guest]
        if not mates:
            del company.of[address]


_WORDS = {
    "limit": "there are as many connections as there may be; the one longest without a request gives way, a stranger's first",
    "bodies": "strangers send as many bodies as they may at once; the one that has been on its way longest gives way",
    "share": "an address has its share of the connections; one of its own gives way, or is refused",
    "refused": "there are as many connections as there may be, and all have requests; a new one is refused",
    "waited": "more connections wait to be let in than may; one of those that nobody knows is refused",
    "left": "a connection was left before it was let in",
    "descriptors": "no connection can be taken: there is no descriptor left, or no memory",
    "preface": "a trusted proxy sent a PROXY header that cannot be read",
}
