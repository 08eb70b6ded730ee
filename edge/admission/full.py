"""Owns what a key at its limit is told, and who was told so a moment ago: whoever hammers does not reach a ledger."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import structs

from edge.http.exchange import Exchange
from schemas.chat.priced import RequestError
from schemas.dialects.rates import told
from schemas.errors import WireError, limited
from schemas.verbs.calls import Limited, Measure, Refusal

REMEMBERED_MAX: Final = 10_000  # keys
REMEMBERED_MAX_S: Final = 1.0  # a limit that was raised is known after so long


def at_limit(found: Limited, key_id: str) -> WireError:
    """The 429 of a rate limit."""
    kind = Measure.TOKENS if found.measure is Measure.TOKENS else Measure.REQUESTS
    retry_after_s = None if found.retry_ms < 0 else found.retry_ms / 1000
    return limited(kind.value, told(found, key_id), retry_after_s=retry_after_s)


class Full:
    """Keys that have no call left this minute, by the hash that an edge knows them by, until there is room again.

    Only calls a minute: of tokens, another call may take fewer, and of calls in flight one may have ended meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, tuple[float, float, Refusal]] = OrderedDict()

    def learn(self, digest: bytes, refusal: Refusal) -> None:
        """Remembers what a ledger has refused, where the same answer is right for a while."""
        found = refusal.limited
        if found is None or found.measure is not Measure.REQUESTS:
            return
        now = self._clock()
        room_s = found.retry_ms / 1000
        self._until[digest] = now + min(room_s, REMEMBERED_MAX_S), now + room_s, refusal
        self._until.move_to_end(digest)
        if len(self._until) > REMEMBERED_MAX:
            self._until.popitem(last=False)

    def check(self, exchange: Exchange, digest: bytes) -> None:
        """Raises the same RequestError again, with the time that is left, while it is right."""
        known = self._until.get(digest)
        if known is None:
            return
        forget, room, refusal = known
        now = self._clock()
        if now >= forget or refusal.limited is None:
            del self._until[digest]
            return
        exchange.key_id, exchange.room = refusal.key_id, refusal.room
        left_ms = max(int((room - now) * 1000), 1)
        raise RequestError(at_limit(structs.replace(refusal.limited, retry_ms=left_ms), refusal.key_id))
