"""Owns what live workers say of themselves: the newest beat of each, as many as there is room for."""

import time
from collections.abc import Callable

import msgspec
from msgspec import Struct, structs

from runtime.bus.bus import Message
from schemas.bus.frames import Beat, decode_beat
from schemas.bus.heard import NO_LISTS, Kept, Lists

BEAT_AGE_MAX_S = 3.0
LISTS_AGE_MAX_S = (
    60.0  # of who may only have been held up: its next beat is brief, and a ledger cannot ask for a full one
)
WORKERS_MAX = 4096  # in all pools
ACCOUNTS_MAX = 64  # of one beat that are kept


class _Seen(Struct, frozen=True):
    beat: Beat  # without its lists
    lists: Lists
    digest: str  # of the full beat that they are of
    at: float


class Beats:
    """Hears beats, and tells those that are fresh. What workers serve is remembered longer, where there is room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._kept = Kept()
        self._swept = 0.0

    def on_beat(self, message: Message) -> None:
        """Takes one beat; nonsense is ignored, and so is what there is no room for."""
        try:
            beat = decode_beat(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        now = self._clock()
        if now - self._swept >= BEAT_AGE_MAX_S:
            self._sweep(now, LISTS_AGE_MAX_S)
        key = (beat.pool, beat.worker_id)
        seen = self._seen.get(key)
        if seen is None and len(self._seen) >= WORKERS_MAX:
            self._sweep(now, BEAT_AGE_MAX_S)
            if len(self._seen) >= WORKERS_MAX:
                return
        lists, digest = self._lists(beat, seen, len(message.data), now)
        brief = structs.replace(beat.without_lists(), accounts=beat.accounts[:ACCOUNTS_MAX])
        self._seen[key] = _Seen(brief, lists, digest, now)

    def _lists(self, beat: Beat, seen: _Seen | None, count_bytes: int, now: float) -> tuple[Lists, str]:
        """The lists that a beat has or stands for, as far as they were heard, and their digest."""
        if beat.brief:
            known = seen is not None and seen.digest == beat.digest
            if seen is not None and not known:
                self._kept.give_back(seen.lists)
            return (seen.lists, seen.digest) if seen is not None and known else (NO_LISTS, "")
        taken = self._kept.take(beat, count_bytes)
        if seen is not None:  # under its name nothing else is swept meanwhile
            self._kept.give_back(seen.lists)
            self._seen.pop((beat.pool, beat.worker_id))
        if taken is None:
            self._sweep(now, BEAT_AGE_MAX_S)
            taken = self._kept.take(beat, count_bytes)
        return (NO_LISTS, "") if taken is None else (taken, beat.digest)

    def _sweep(self, now: float, age_max_s: float) -> None:
        self._swept = now
        for key in [key for key, seen in self._seen.items() if seen.at < now - age_max_s]:
            self._kept.give_back(self._seen.pop(key).lists)

    def live(self) -> dict[str, list[Beat]]:
        """The beats of live workers, by pool."""
        oldest = self._clock() - BEAT_AGE_MAX_S
        live: dict[str, list[Beat]] = {}
        for seen in self._seen.values():
            if seen.at < oldest:
                continue
            live.setdefault(seen.beat.pool, []).append(seen.beat.with_lists(seen.lists.beat))
        return live
