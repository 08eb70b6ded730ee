"""Owns when a delivery that failed is tried again."""

import random
from collections.abc import Callable
from typing import Final

from msgspec import Struct

# After the first attempt, the second, …: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. Then it has failed.
TABLE_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
ATTEMPTS_MAX: Final = len(TABLE_S) + 1
JITTER: Final = 0.1  # so that endpoints of one host do not all come back at once
RETRY_AFTER_MAX_S: Final = 86_400.0


class Retries(Struct, frozen=True):
    """The table times a factor, which is 1 but in tests."""

    factor: float = 1.0
    spread: Callable[[float, float], float] = random.uniform

    def delay_s(self, attempt: int, retry_after_s: float) -> float | None:
        """How long to wait after an attempt, counted from 1; None for no more. A receiver may ask for more time, up to a day."""
        if attempt >= ATTEMPTS_MAX:
            return None
        asked_s = TABLE_S[max(attempt, 1) - 1] * self.factor * self.spread(1 - JITTER, 1 + JITTER)
        return max(asked_s, min(retry_after_s, RETRY_AFTER_MAX_S))
