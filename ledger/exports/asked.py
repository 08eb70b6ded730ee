"""Owns what a page of an export is asked with: its window, the moment that the whole export is of, and how far it is.

Nothing is kept between pages, so any ledger can answer any of them. Rows of transfers, credits and calls have the time of
their commit for good; so rows from before a moment are a snapshot, once nothing from before it can be committed any more.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from ledger.store.base import Store
from schemas.verbs.exports import ExportQuery

PAGE_BYTES: Final = 600_000  # of rows as they are sent, so that a page fits one message of the bus
SCANNED: Final = 20_000  # rows that one page looks at
WAIT_S: Final = 2.0  # for what had begun before the moment, in one answer
_STEP_S: Final = 0.05
_encode = msgspec.msgpack.Encoder().encode


class Cursor(Struct, frozen=True, array_like=True):
    """Where an export is: the moment that it is of, by the books' clock and by the database's; its phase, and its place in it."""

    moment_ms: int
    clock_ms: int
    settled: bool = False
    phase: str = ""
    place: tuple[str | int, ...] = ()


_decode = msgspec.json.Decoder(Cursor).decode
_write = msgspec.json.Encoder().encode


class Asked(Struct, frozen=True):
    """A page's question: rows that were booked from `since_ms` to just before `until_ms`, which is the moment or earlier."""

    since_ms: int
    until_ms: int
    moment_ms: int
    organization: str


class Page(Struct, frozen=True):
    """A page's rows, and where the next one begins: None at the end."""

    rows: list[list[Any]]
    place: tuple[str | int, ...] | None


def read(cursor: str) -> Cursor:
    """A cursor as it was given out. Raises msgspec.MsgspecError."""
    return _decode(cursor)


def written(cursor: Cursor) -> str:
    """A cursor as it is given out."""
    return _write(cursor).decode()


def asked(query: ExportQuery, cursor: Cursor) -> Asked:
    """What a page of a query is about."""
    until_ms = min(query.until_ms or cursor.moment_ms, cursor.moment_ms)
    return Asked(query.since_ms, until_ms, cursor.moment_ms, query.organization)


async def begin(store: Store) -> Cursor:
    """The beginning of an export of what is in the books now. Raises StoreError."""
    moment_ms, clock_ms = await store.moment()
    return Cursor(moment_ms, clock_ms)


async def settled(store: Store, cursor: Cursor) -> bool:
    """Whether all that had begun before the moment has ended; waits a little for it. Raises StoreError."""
    for _ in range(int(WAIT_S / _STEP_S)):
        if await store.passed(cursor.clock_ms):
            return True
        await asyncio.sleep(_STEP_S)
    return False


class Size:
    """How much of a page is full."""

    def __init__(self) -> None:
        self._bytes = 0

    def takes(self, rows: Iterable[Any]) -> bool:
        """Whether rows still fit; they are counted if they do. What comes first always fits."""
        size = sum(len(_encode(row)) for row in rows)
        if self._bytes and self._bytes + size > PAGE_BYTES:
            return False
        self._bytes += size
        return True
