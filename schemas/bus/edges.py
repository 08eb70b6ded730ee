"""Owns the beat of an edge: how many calls of how many keys run and wait there in each pool, for the other edges."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

VERSION = 1
BEAT_INTERVAL_S = 1.0
BEAT_GAP_S = 0.1  # between two beats of an edge, however often it is asked
POOLS_MAX = 64  # in one beat: those with most calls running
KEYS_MAX = 64  # named of one pool: those with most calls running

NAME_CHARS_MAX = 64
Count = Annotated[int, Meta(ge=0, le=10**9)]
Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]


class KeyCount(Struct, frozen=True, array_like=True):
    """One key's calls in one pool at one edge. `scope` stands for the key."""

    scope: Name
    running: Count


class PoolCount(Struct, frozen=True, array_like=True):
    """One pool's calls at one edge. Calls whose caller has left run until their worker has settled.

    `weight` is the sum of the weights of all keys that have calls running or waiting there, or had some a moment ago;
    `heaviest` names the KEYS_MAX of them with most calls running.
    """

    running: Count
    waiting: Count
    weight: Count
    heaviest: Annotated[tuple[KeyCount, ...], Meta(max_length=KEYS_MAX)] = ()


class EdgeBeat(Struct, frozen=True, array_like=True):
    """What one edge runs; each second, and when another edge `asks`, at most each BEAT_GAP_S.

    A pool that is not in it has no calls there. An edge asks when it has used up what it may start by what it knows.
    """

    v: int
    edge_id: Name
    pools: Annotated[dict[Name, PoolCount], Meta(max_length=POOLS_MAX)]
    asks: bool = False


encode = msgspec.msgpack.Encoder().encode
decode_beat = msgspec.msgpack.Decoder(EdgeBeat).decode
