"""Owns how many pages an inline PDF has: counted in one thread beside the loop, with a deadline, or not at all."""

import asyncio
import binascii
import io
import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any, Final

from schemas.asked import Document

COUNT_S: Final = 2.0  # for all documents of one call; what takes longer is not counted
JOBS_MAX: Final = 8  # calls whose documents are counted or wait for it
DOCUMENTS_MAX: Final = 16  # of one call
NODES_MAX: Final = 20_000  # of one page tree
DEPTH_MAX: Final = 64
XREF_ENTRIES_MAX: Final = 200_000
_TAIL_BYTES: Final = 1_024  # where every reader looks for the end
_END_BYTES: Final = 64  # from the last pointer to the end
_PIECE_CHARS: Final = 1 << 18  # decoded or searched at once: the loop gets its turn in between
_LIBRARY: Final = "pypdf"
_MARKS: Final = (b"/Type /Page", b"/Type/Page")


class PageCounter:
    """Counts pages. What it cannot count within its bounds is left out of its answer."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: list[Future[dict[str, int]]] = []

    async def count(self, documents: tuple[Document, ...]) -> dict[str, int]:
        """The pages of each document that is well-formed, by its `param`."""
        self._jobs = [job for job in self._jobs if not job.done()]
        if len(self._jobs) >= JOBS_MAX:
            return {}
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "pages")
        job = self._pool.submit(_count_all, documents[:DOCUMENTS_MAX], time.monotonic() + COUNT_S)
        self._jobs.append(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), COUNT_S)
        except TimeoutError:
            return {}

    def close(self) -> None:
        """Drops what waits."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _count_all(documents: tuple[Document, ...], until: float) -> dict[str, int]:
    found = {}
    for document in documents:
        try:
            with _deadline(until):
                pages = count_pages(_decoded(document), until)
        except (Exception, _OverdueError):  # noqa: BLE001, S112  whatever a hostile file makes of its reader: it is not counted
            continue
        if pages:
            found[document.param] = pages
    return found


def _decoded(document: Document) -> bytes:
    data = document.data
    pieces = range(document.start, len(data), _PIECE_CHARS)
    return b"".join(
        binascii.a2b_base64(data[start : start + _PIECE_CHARS], strict_mode=True) for start in pieces
    )


class _OverdueError(BaseException):
    """The time for counting is over. The library passes over any Exception."""


@contextmanager
def _deadline(until: float) -> Iterator[None]:
    """Ends what runs inside, at the library's first call of a Python function after a moment, with an _OverdueError.

    Not at any other's: where the garbage collector calls a finalizer, what it raises is passed over, and a trace that
    has raised once is off.
    A few kilobytes may inflate to a stream of millions of objects, which the library reads without reading its file.
    """

    def look(frame: FrameType, _event: str, _argument: object) -> None:
        if time.monotonic() > until and str(frame.f_globals.get("__name__")).startswith(_LIBRARY):
            raise _OverdueError

    before = sys.gettrace()
    sys.settrace(look)  # of this thread alone
    try:
        yield
    finally:
        sys.settrace(before)


class _Timed(io.BytesIO):
    """A file that can be read until a moment: what the library does with a crafted one has no other end."""

    def __init__(self, data: bytes, until: float) -> None:
        super().__init__(data)
        self._until = until

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes. Raises _OverdueError."""
        if time.monotonic() > self._until:
            raise _OverdueError
        return super().read(size)


class _Complaints(logging.Handler):
    """Hears what the library repairs: another reader may repair it otherwise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = False

    def emit(self, record: logging.LogRecord) -> None:
        """One repair. There is one thread that counts."""
        del record
        self.heard = True


@cache
def _complaints() -> _Complaints:
    handler = _Complaints()
    logger = logging.getLogger("pypdf")
    logger.addHandler(handler)
    logger.propagate = False
    return handler


def count_pages(data: bytes, until: float) -> int:
    """The most pages that a PDF states anywhere or has in its page tree; 0 for one that is not well-formed to the letter.

    `until` is a moment of time.monotonic(). Raises whatever the library does.
    """
    if not _one_end(data):
        return 0
    from pypdf import PdfReader  # noqa: PLC0415  a quarter of a second of CPU, which few edges need

    complaints = _complaints()
    complaints.heard = False
    reader = PdfReader(_Timed(data, until), strict=True, xref_stream_maximum_entries=XREF_ENTRIES_MAX)
    if reader.is_encrypted:
        return 0
    root: Any = reader.trailer["/Root"]
    leaves = stated = nodes = 0
    waiting: list[tuple[Any, int]] = [(root["/Pages"], 0)]
    while waiting:
        node, depth = waiting.pop()
        node = node.get_object()
        nodes += 1
        if nodes > NODES_MAX or depth > DEPTH_MAX or complaints.heard or time.monotonic() > until:
            return 0
        stated = max(stated, int(node["/Count"]) if "/Count" in node else 0)
        kids = node.get("/Kids")
        if kids is None or node.get("/Type") == "/Page":
            leaves += 1
        if kids is not None:
            kids = list(kids.get_object())
            if nodes + len(waiting) + len(kids) > NODES_MAX:
                return 0
            waiting += [(kid, depth + 1) for kid in kids]
    return max(leaves, stated, _marks(data))


def _one_end(data: bytes) -> bool:
    """Whether every reader finds the same end: the last pointer stands before the last end, near the end of the file."""
    tail = data[-_TAIL_BYTES - _END_BYTES :]
    end, pointer = tail.rfind(b"%%EOF"), tail.rfind(b"startxref")
    return end >= 0 and len(tail) - end <= _TAIL_BYTES and pointer >= 0 and 0 < end - pointer <= _END_BYTES


def _marks(data: bytes) -> int:
    """Page objects that stand in the open, whether the tree has them or not."""
    return sum(_count(data, mark) - _count(data, mark + b"s") for mark in _MARKS)


def _count(data: bytes, mark: bytes) -> int:
    pieces = range(0, len(data), _PIECE_CHARS)
    return sum(data.count(mark, start, start + _PIECE_CHARS + len(mark) - 1) for start in pieces)
