"""Owns a minute of counts, second by second: what was asked in the last 60 seconds, and when there is room again.

There are 61 numbers: the second that is running and the 60 before it. So no 60 seconds, wherever they begin, ever have
more than the numbers together; what is lost is at most one second in 61.
"""

import struct

SECONDS = 61
COUNT_MAX = 2**32 - 1
_PACKED = struct.Struct(f"<{SECONDS}I")
EMPTY = bytes(_PACKED.size)


def unpacked(packed: bytes, base_s: int, now_s: int) -> list[int]:
    """The counts at a moment: that of second s stands at s mod 61. `base_s` is the second in which they were packed."""
    if now_s - base_s >= SECONDS or len(packed) != _PACKED.size:
        return [0] * SECONDS
    counts = list(_PACKED.unpack(packed))
    for second in range(base_s + 1, now_s + 1):
        counts[second % SECONDS] = 0
    return counts


def packed(counts: list[int]) -> bytes:
    """The counts as a row keeps them."""
    return _PACKED.pack(*counts)


def add(counts: list[int], second: int, count: int) -> int:
    """Adds to a second's count, which stays within what a row can keep. Returns by how much it is another one."""
    place = second % SECONDS
    before = counts[place]
    counts[place] = min(max(before + count, 0), COUNT_MAX)
    return counts[place] - before


def pass_over(counts: list[int], from_s: int, to_s: int) -> int:
    """Takes out what is a minute old once time goes on from one second to another. Returns how much that was."""
    gone = 0
    for second in range(from_s + 1, to_s + 1):
        place = second % SECONDS
        gone += counts[place]
        counts[place] = 0
    return gone


def wait_ms(counts: list[int], now_ms: int, excess: int) -> int:
    """Milliseconds until so many of the counts are older than a minute; the whole minute's if they are never so many."""
    now_s = now_ms // 1000
    gone = 0
    for second in range(now_s - SECONDS + 1, now_s + 1):
        gone += counts[second % SECONDS]
        if gone >= excess:
            return (second + SECONDS) * 1000 - now_ms
    return SECONDS * 1000


def empty_ms(counts: list[int], now_ms: int) -> int:
    """Milliseconds until nothing of them is left."""
    now_s = now_ms // 1000
    for second in range(now_s, now_s - SECONDS, -1):
        if counts[second % SECONDS]:
            return (second + SECONDS) * 1000 - now_ms
    return 0
