"""Beats of edges: what one says is what another reads, also of a version that adds to it, and the largest fits a message."""

import msgspec

from runtime.bus.server import MAX_PAYLOAD_BYTES
from schemas.bus import edges
from schemas.bus.edges import EdgeBeat, KeyCount, PoolCount

BEAT = EdgeBeat(edges.VERSION, "edge-1", {"p": PoolCount(3, 1, 2, (KeyCount("k", 3),))}, asks=True)


def test_a_beat_survives_the_wire() -> None:
    """Type and fields, whatever a newer edge has added at the end of each."""
    assert edges.decode_beat(edges.encode(BEAT)) == BEAT
    newer = [1, "edge-1", {"p": [3, 1, 2, [["k", 3, "new"]], "new"]}, True, "new"]
    assert edges.decode_beat(msgspec.msgpack.encode(newer)) == BEAT


def test_the_largest_beat_fits_a_message() -> None:
    """All pools with all keys that one may name, their names as long as names may be."""
    keys = tuple(KeyCount(f"{at:064}", 10**9) for at in range(edges.KEYS_MAX))
    pools = {f"{at:064}": PoolCount(10**9, 10**9, 10**9, keys) for at in range(edges.POOLS_MAX)}
    largest = EdgeBeat(edges.VERSION, "e" * 64, pools, asks=True)
    assert len(edges.encode(largest)) < MAX_PAYLOAD_BYTES
    assert edges.decode_beat(edges.encode(largest)) == largest
