"""Owns which workers there are: a bounded memory of beats, by pool and by worker."""

from collections.abc import Collection, Iterator

from msgspec import Struct, field

from schemas.bus.frames import Beat, ModelFact, joined
from schemas.bus.heard import NO_LISTS, Kept, Lists

POOLS_MAX = 256
WORKERS_MAX = 1024  # of one pool
SEATS_MAX = 4096  # of all pools together
REMEMBERED_MAX = 4096  # workers whose last beat is known
FORGET_S = 120.0


class Seat(Struct):
    """One worker in one pool. `heard` is loop time."""

    heard: float
    lists: Lists = field(default_factory=lambda: NO_LISTS)
    digest: str = ""  # of the full beat that they are of


class Roster:
    """The workers whose beats are not overdue.

    `configured` are the pools of this edge's own settings; None if it does not know them. An edge that has no provider's
    variables learns of the others by their workers' beats.
    """

    def __init__(self, overdue_s: float, configured: Collection[str] | None = None) -> None:
        self._overdue_s = overdue_s
        self._configured = configured
        self._met: set[str] = set()  # pools that have shown a beat since this edge started
        self._pools: dict[str, dict[str, Seat]] = {}
        self._seats_taken = 0
        self._kept = Kept()
        self._heard: dict[str, float] = {}  # worker id: its last beat in any pool
        self._facts: dict[str, dict[str, ModelFact]] = {}  # by pool and upstream model, of all its workers
        self.told = ""  # another for anything else that lists say of any model
        self.generation = 0  # how often what can be served may have changed

    def hear(self, beat: Beat, now: float, count_bytes: int = 0) -> int:
        """Takes a beat of so many bytes in. Answers with how many more calls that worker would take now.

        One that there is no room for is not taken in: its worker serves nothing here.
        """
        self._heard.pop(beat.worker_id, None)
        self._heard[beat.worker_id] = now
        if len(self._heard) > REMEMBERED_MAX:
            del self._heard[next(iter(self._heard))]
        seats = self._pools.get(beat.pool)
        if seats is None:
            if len(self._pools) >= POOLS_MAX:
                return 0
            seats = self._pools[beat.pool] = {}
            if len(self._met) < POOLS_MAX:
                self._met.add(beat.pool)
        seat = seats.get(beat.worker_id)
        if seat is None:
            if len(seats) >= WORKERS_MAX or self._seats_taken >= SEATS_MAX:
                return 0
            self._seats_taken += 1
            seat = seats[beat.worker_id] = Seat(now)
            self._changed(beat.pool)
        if not self._is_same(seat, beat):
            lists = self._kept.take(beat, count_bytes)
            if lists is None:
                return 0
            self._kept.give_back(seat.lists)
            before, seat.lists, seat.digest = seat.lists, lists, beat.digest
            self._changed(beat.pool, before, lists)
        seat.heard = now
        return max(beat.capacity - beat.inflight, 0) if beat.accepting else 0

    @staticmethod
    def _is_same(seat: Seat, beat: Beat) -> bool:
        # What a brief beat stands for may not be known: until it is, what was said before holds.
        if beat.digest:
            return beat.brief or seat.digest == beat.digest
        old = seat.lists.beat
        same = old.models == beat.models and old.gone == beat.gone
        return not seat.digest and same and old.facts == beat.facts and old.unlisted == beat.unlisted

    def _changed(self, pool: str, *lists: Lists) -> None:
        """Takes note that these lists came or went. To gather what all workers' lists say takes time: only if it may differ."""
        self.generation += 1
        if not any(one.beat.facts or one.unlisted for one in lists):
            return
        facts = [fact for seat in self._pools.get(pool, {}).values() for fact in seat.lists.beat.facts]
        if facts or pool in self._facts:
            self._facts[pool] = joined(facts)
        unlisted = sorted((name, model) for name, seat in self._seats() for model in seat.lists.unlisted)
        if unlisted or any(self._facts.values()) or self.told:
            facts_told = sorted(
                (name, repr(said)) for name, pool_facts in self._facts.items() for said in pool_facts.values()
            )
            self.told = repr((facts_told, unlisted)) if facts_told or unlisted else ""

    def knows(self, beat: Beat) -> bool:
        """Whether it is known what a beat that was heard stands for."""
        seat = self._pools.get(beat.pool, {}).get(beat.worker_id)
        return not beat.brief or seat is None or seat.digest == beat.digest

    def sweep(self, now: float) -> None:
        """Forgets workers whose beat is overdue."""
        for name, seats in list(self._pools.items()):
            for worker_id in [key for key, seat in seats.items() if now - seat.heard > self._overdue_s]:
                lists = seats.pop(worker_id).lists
                self._kept.give_back(lists)
                self._seats_taken -= 1
                self._changed(name, lists)
            if not seats:
                self._facts.pop(name, None)
                del self._pools[name]
        for worker_id in [key for key, heard in self._heard.items() if now - heard > FORGET_S]:
            del self._heard[worker_id]

    def last_heard(self, worker_id: str) -> float:
        """When a worker's last beat came, in loop time; 0 for one never heard or long forgotten."""
        return self._heard.get(worker_id, 0.0)

    def silent(self, pool: str) -> bool:
        """Whether a pool has shown no beat lately."""
        return pool not in self._pools

    def unset(self, pool: str) -> bool:
        """Whether a pool is nobody's: not configured, and no worker has ever spoken of it."""
        return self._configured is not None and pool not in self._configured and pool not in self._met

    def serves(self, pool: str, model: str) -> bool:
        """Whether some worker of a pool says that it can serve a model now."""
        return any(model in seat.lists.models for seat in self._pools.get(pool, {}).values())

    def gone(self, pool: str, model: str) -> bool:
        """Whether a provider has said that a model no longer exists, and nobody serves it all the same."""
        seats = self._pools.get(pool, {}).values()
        return any(model in seat.lists.gone for seat in seats) and not self.serves(pool, model)

    def fact(self, pool: str, upstream: str) -> ModelFact | None:
        """What the lists of a pool's accounts say of an upstream model beyond its row, if anything."""
        facts = self._facts.get(pool)
        return facts.get(upstream) if facts else None

    def unlisted(self, pool: str, model: str) -> bool:
        """Whether a model is served though no list has it."""
        return any(model in seat.lists.unlisted for seat in self._pools.get(pool, {}).values())

    def live(self) -> set[tuple[str, str]]:
        """Pool and model of everything that some worker can serve now."""
        return {(pool, model) for pool, seat in self._seats() for model in seat.lists.models}

    def _seats(self) -> Iterator[tuple[str, Seat]]:
        for pool, seats in self._pools.items():
            for seat in seats.values():
                yield pool, seat
