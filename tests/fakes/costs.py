"""Owns how the CPU of two pieces of work is compared: in turn, so that what a busy machine does harms both alike."""

import statistics
from collections.abc import Callable


def ratio(own: Callable[[], float], other: Callable[[], float], rounds: int) -> float:
    """What one costs of another, each of which says its own CPU seconds, over rounds of both, before and behind.

    By the least of each, or by the median of neighbours, whichever is lower: a core that changes its pace meanwhile
    spoils one or the other, and a cost that was added raises both.
    """
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        before, first, second, after = own(), other(), other(), own()
        pairs += [(before, first), (after, second)]
    least = min(mine for mine, _ in pairs) / min(theirs for _, theirs in pairs)
    return min(least, statistics.median(mine / theirs for mine, theirs in pairs))
