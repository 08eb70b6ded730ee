"""Owns how often one credential may ask: reads and writes, each from a bucket that fills with time."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct


class Rate(Struct, frozen=True):
    """So many a second, and at most so many at once."""

    per_s: float
    burst: int


class Rates(Struct, frozen=True, kw_only=True):
    """The rates of one credential at one console."""

    reads: Rate = Rate(20.0, 40)
    writes: Rate = Rate(10.0, 20)
    credentials_max: int = 10_000  # that are remembered; who was longest away is forgotten


class _Bucket:
    __slots__ = ("at", "left")

    def __init__(self, left: float, at: float) -> None:
        self.left = left
        self.at = at


class Buckets:
    """What is left to each credential."""

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._buckets: OrderedDict[tuple[bytes, bool], _Bucket] = OrderedDict()

    def wait_s(self, credential: bytes, *, writes: bool) -> int:
        """Takes one, and answers 0; or, where nothing is left, after how many whole seconds there is one again."""
        rate, now = self._rates.writes if writes else self._rates.reads, self._clock()
        key = credential, writes
        bucket = self._buckets.pop(key, None) or _Bucket(rate.burst, now)
        self._buckets[key] = bucket
        while len(self._buckets) > self._rates.credentials_max:
            self._buckets.popitem(last=False)
        bucket.left = min(rate.burst, bucket.left + (now - bucket.at) * rate.per_s)
        bucket.at = now
        if bucket.left < 1:
            return max(1, math.ceil((1 - bucket.left) / rate.per_s))
        bucket.left -= 1
        return 0
