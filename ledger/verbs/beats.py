"""Owns what live workers say of themselves: the newest beat of each."""

import time

import msgspec
from msgspec import Struct

from runtime.bus.bus import Message
from schemas.bus.frames import Beat, decode_beat

BEAT_AGE_MAX_S = 3.0
WORKERS_MAX = 10_000


class _Seen(Struct, frozen=True):
    beat: Beat
    at: float


class Beats:
    """Hears beats, and remembers those that are fresh."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def on_beat(self, message: Message) -> None:
        """Takes one beat; nonsense is ignored."""
        try:
            beat = decode_beat(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if len(self._seen) < WORKERS_MAX or (beat.pool, beat.worker_id) in self._seen:
            self._seen[beat.pool, beat.worker_id] = _Seen(self._in_full(beat), time.monotonic())

    def _in_full(self, beat: Beat) -> Beat:
        """A brief beat with what it stands for, as far as that was heard."""
        seen = self._seen.get((beat.pool, beat.worker_id))
        if not beat.brief or seen is None or seen.beat.digest != beat.digest:
            return beat
        return beat.with_lists(seen.beat)

    def live(self) -> dict[str, list[Beat]]:
        """The beats of live workers, by pool."""
        oldest = time.monotonic() - BEAT_AGE_MAX_S
        self._seen = {key: seen for key, seen in self._seen.items() if seen.at >= oldest}
        live: dict[str, list[Beat]] = {}
        for seen in self._seen.values():
            live.setdefault(seen.beat.pool, []).append(seen.beat)
        return live
