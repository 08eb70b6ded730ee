"""Owns what a listener keeps of workers' lists: equal ones once, and no more of them all than a limit."""

from msgspec import Struct, structs

from schemas.bus.frames import Beat

# As they came, of all workers together. Those of 5,000 models are some 300 KB, the same from each worker of a pool.
LISTS_BYTES_MAX = 16 * 1024 * 1024


class Lists(Struct, eq=False):
    """The lists of a full beat, and how many workers say them."""

    beat: Beat
    count_bytes: int
    models: frozenset[str]
    gone: frozenset[str]
    unlisted: frozenset[str]
    workers: int = 0


NO_LISTS = Lists(
    Beat(0, "", "", "", 0, 0, accepting=False, models=(), gone=(), accounts=()),
    0,
    frozenset(),
    frozenset(),
    frozenset(),
)


class Kept:
    """The lists that live workers say. Whoever takes some gives them back when he has no more use for them."""

    def __init__(self) -> None:
        self._lists: dict[tuple[object, ...], Lists] = {}
        self.count_bytes = 0

    def take(self, beat: Beat, count_bytes: int) -> Lists | None:
        """The lists of a beat of so many bytes; None if there is no room for them."""
        key = _key(beat)
        lists = self._lists.get(key)
        if lists is None:
            if self.count_bytes + count_bytes > LISTS_BYTES_MAX:
                return None
            lists = self._lists[key] = Lists(
                structs.replace(beat, accounts=()),
                count_bytes,
                frozenset(beat.models),
                frozenset(beat.gone),
                frozenset(beat.unlisted),
            )
            self.count_bytes += count_bytes
        lists.workers += 1
        return lists

    def give_back(self, lists: Lists) -> None:
        """One worker less says these."""
        if lists is NO_LISTS:
            return
        lists.workers -= 1
        if not lists.workers:
            del self._lists[_key(lists.beat)]
            self.count_bytes -= lists.count_bytes


def _key(beat: Beat) -> tuple[object, ...]:
    models, gone, missing, facts, unlisted, unpriced = beat.lists
    del missing
    return beat.pool, models, gone, tuple(beat.missing.items()), facts, unlisted, unpriced
