"""Owns the proof that no charge was beyond its hold: of each deployment at its end, but for the tests whose upstreams lie.

A test that has something uncollected on purpose is marked `uncollected("why")`. Its calls are written off when it
ends, so that a deployment that many tests share is still proved for all the others.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, Protocol

MARKER = "uncollected"
SETTLED_S = 10.0
# The account's transfers and the calls' rows say the same, unless the books were damaged: both are looked at.
BEYOND = """
    SELECT request_id FROM usage WHERE uncollected_nano <> 0
    UNION SELECT request_id FROM transfers WHERE kind = 'uncollected'
"""
_OPEN = "SELECT request_id FROM holds WHERE state = 'open'"


class Proved(Protocol):
    """A deployment whose books can be read past its ledger. `written_off` are the calls of marked tests."""

    written_off: set[str]

    def read(self, sql: str) -> Sequence[Sequence[Any]]:
        """Rows of its books; none where it has no books yet."""
        ...


class _Now:
    """The deployments that run, and whether the test that runs is marked."""

    live: list[Proved] = []  # noqa: RUF012  one for the whole run, on purpose
    marked = False


def begin(*, marked: bool) -> None:
    """A test begins."""
    _Now.marked = marked


def end() -> None:
    """A test ends. What a marked one left uncollected is written off, once its calls are settled."""
    marked, _Now.marked = _Now.marked, False
    if marked:
        for deployment in _Now.live:
            deadline = time.monotonic() + SETTLED_S
            while deployment.read(_OPEN) and time.monotonic() < deadline:
                time.sleep(0.02)
            deployment.written_off |= {str(row[0]) for row in deployment.read(BEYOND)}


def opened(deployment: Proved) -> None:
    """A deployment has started."""
    _Now.live.append(deployment)


def closing(deployment: Proved, *, failed: bool) -> None:
    """A deployment is about to stop. Raises AssertionError for a charge beyond its hold, unless it has `failed` already."""
    if deployment in _Now.live:
        _Now.live.remove(deployment)
    if not failed and not _Now.marked:
        prove(deployment.read(BEYOND), deployment.written_off)


def prove(beyond: Sequence[Sequence[Any]], written_off: Collection[str] = ()) -> None:
    """Raises AssertionError if the rows of BEYOND name a charge that is not written off."""
    found = sorted({str(row[0]) for row in beyond} - set(written_off))
    assert not found, f"charged beyond their holds: {found}"
