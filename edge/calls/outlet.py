"""Owns the caller's side of a call: how it ended, whether the caller has left, and pings."""

from collections.abc import Callable

from edge.limits import Limits
from schemas.errors import WireError


class Outlet:
    """What an answer reads of a call. Times are monotonic."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.ended = False
        self.error: WireError | None = None  # why it ended, unless it ended well
        self.left = False  # the caller has hung up
        self.tells_model = (
            False  # a header of the answer says which model served: its caller did not name just one
        )
        self.delivered = False  # bytes of the answer have been given to the caller
        self.ping_due = False
        self.first_data: float | None = None  # when the first bytes of an answer came
        self.reserved = 0  # bytes of a plain answer, taken from what all callers may have in memory
        self._ping_s = limits.ping_s
        self._listener: Callable[[], None] | None = None
        self._ping_at = now + limits.first_event_s

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Has `listener` called when there is something to do: bytes, an end, a ping, a caller who has left. None: nobody."""
        self._listener = listener

    def wake(self) -> None:
        """There is something to do."""
        if self._listener is not None:
            self._listener()

    def took(self, now: float) -> None:
        """The caller has been given bytes."""
        self.delivered = True
        self._ping_at = now + self._ping_s

    def ping(self, now: float) -> None:
        """Asks for a ping if nothing has been sent for long."""
        if now >= self._ping_at and not self.ended:
            self._ping_at = now + self._ping_s
            self.ping_due = True
            self.wake()

    def pinged(self) -> None:
        """A ping has been sent."""
        self.ping_due = False
