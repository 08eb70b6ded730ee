"""Owns the calls that wait for a worker with room, in the order in which they came, a queue for each pool."""

from collections import deque

from edge.calls.host import CallView, State


class Waiting:
    """Calls of which nothing is out."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[CallView]] = {}

    def add(self, call: CallView) -> None:
        """One more, behind the others of its pool."""
        self._queues.setdefault(call.pool, deque()).append(call)

    def offer(self, pool: str, room: int) -> None:
        """Offers so many of a pool's calls again."""
        queue = self._queues.get(pool)
        if queue is None:
            return
        for _ in range(min(room, len(queue))):
            queue.popleft().offer_again()
        if not queue:
            self._queues.pop(pool, None)

    def tick(self) -> None:
        """Offers one call a pool: beats normally have that done, and a lost one must not leave calls waiting."""
        for pool, queue in list(self._queues.items()):
            self._queues[pool] = deque(
                call for call in queue if call.state is State.WAITING and call.pool == pool
            )
            self.offer(pool, 1)
