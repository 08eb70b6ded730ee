"""Owns the frames of one attempt on their way to a caller: their order, the bytes that wait, and the credit for them."""

from enum import Enum, auto

from schemas.bus.frames import WINDOW_BYTES_MAX

CREDIT_BYTES = WINDOW_BYTES_MAX // 4
CREDIT_REPEATS = 3  # a credit that may have been lost is repeated so often, a second apart


class Order(Enum):
    """Where a frame stands in its sequence."""

    NEXT = auto()
    OLD = auto()  # sent again
    GAP = auto()  # something before it is missing


class Flow:
    """One attempt's frames. Sequence numbers begin at 0 with the accept."""

    __slots__ = (
        "_chunks",
        "_next",
        "_repeats",
        "_taken",
        "_taken_bytes",
        "_uncredited_bytes",
        "consumed",
        "credit_at",
        "gap_since",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self._next = 0  # the first frame that has not come, or has a gap before it
        # The last frame whose bytes have left this edge, as a credit says it: -1 for none. The accept counts only with
        # one behind it.
        self.consumed = -1
        self.waiting_bytes = 0
        self.gap_since: float | None = None
        self.credit_at = 0.0
        self._chunks: list[bytes] = []
        self._taken = 0
        self._taken_bytes = 0
        self._uncredited_bytes = 0
        self._repeats = 0

    def order(self, seq: int) -> Order:
        """Takes note of a frame's number."""
        if seq < self._next:
            return Order.OLD
        if seq != self._next:
            return Order.GAP
        self._next = seq + 1
        self.gap_since = None
        return Order.NEXT

    def lacks(self, seq: int) -> bool:
        """Whether a frame that has been sent has not come."""
        return seq >= self._next

    @property
    def accepted(self) -> bool:
        """Whether the accept has come."""
        return self._next > 0

    @property
    def answered(self) -> bool:
        """Whether anything has come after the accept."""
        return self._next > 1

    def append(self, data: bytes) -> None:
        """Bytes of the last frame."""
        self._chunks.append(data)
        self.waiting_bytes += len(data)

    def take(self) -> bytes:
        """All bytes that wait, joined. Taking means that what was taken before has been sent."""
        if self._taken_bytes:
            self._consume(self._taken, self._taken_bytes)
            self._taken_bytes = 0
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._taken = self._next - 1
        self._taken_bytes = self.waiting_bytes
        self.waiting_bytes = 0
        return data

    def pass_on(self, count: int) -> None:
        """Everything received so far is consumed, `count` bytes of it new, though it may wait here."""
        self._consume(self._next - 1, count)

    def drop(self) -> None:
        """Nobody wants the bytes that wait."""
        self._consume(self._next - 1, self.waiting_bytes + self._taken_bytes)
        self._chunks = []
        self.waiting_bytes = self._taken_bytes = 0

    @property
    def unconfirmed(self) -> bool:
        """Whether bytes have been taken that are not known to have been sent."""
        return self._taken_bytes > 0

    def _consume(self, through: int, count: int) -> None:
        self.consumed = through
        self._uncredited_bytes += count
        self._repeats = CREDIT_REPEATS

    @property
    def credit_due(self) -> bool:
        """Whether so much has been consumed that the sender should know."""
        return self._uncredited_bytes >= CREDIT_BYTES

    def credit_again(self, now: float, interval_s: float) -> bool:
        """Whether it is time to repeat a credit."""
        if not self._repeats or now - self.credit_at < interval_s:
            return False
        self._repeats -= 1
        return True

    def credited(self, now: float) -> None:
        """A credit has been sent."""
        self.credit_at = now
        self._uncredited_bytes = 0
