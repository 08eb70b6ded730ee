"""Owns how long jobs were on their way, whatever the clocks of their edges say."""

SKEWS_MAX = 256  # edges whose clocks are remembered; the one that was met first is forgotten first
SAME_MS = 1_000  # clocks that are so near are one clock
QUEUED_MS_MAX = 60_000  # no job waits longer: an edge has offered it again by then, so a clock was set


class Clocks:
    """How far each edge's clock is from ours: by the job of it that seems to have come the fastest."""

    def __init__(self) -> None:
        self._least_ms: dict[str, int] = {}  # from an edge's clock at the offer to ours at the accept

    def queued_ms(self, edge: str, published_ms: int, now_ms: int) -> int:
        """Between an edge's offer and now: never below zero, and never what only the clocks make of it."""
        took = now_ms - published_ms
        least = self._least_ms.get(edge)
        if least is None or took < least or took - least > QUEUED_MS_MAX:
            if least is None and len(self._least_ms) >= SKEWS_MAX:
                del self._least_ms[next(iter(self._least_ms))]
            self._least_ms[edge] = least = took
        return took if 0 <= least <= SAME_MS and took <= QUEUED_MS_MAX else took - least
