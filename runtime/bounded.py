"""Owns warnings that others bring about as often as they like: some of each kind are written, the rest is counted."""

import time
from typing import Any

import structlog

WARNINGS_PER_S = 5.0  # of one kind, in the long run
WARNINGS_AT_ONCE = 20  # of one kind, before that counts
KINDS_MAX = 256  # in one place; those beyond it are one kind together


class _Suppressed:
    lines = 0  # of this process, since its start


def suppressed() -> int:
    """Warnings that were not written, since the start."""
    return _Suppressed.lines


class Warnings:
    """One event that is logged with its fields, a line each, unless there are too many of its kind.

    A line says in `suppressed` how many of its kind were left out before it.
    """

    def __init__(self, logger: structlog.typing.FilteringBoundLogger, event: str) -> None:
        self._logger = logger
        self._event = event
        self._kinds: dict[str, _Kind] = {}

    def say(self, kind: str, **fields: Any) -> None:
        """Logs it once, if there is room for one more of this kind now."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds.setdefault(kind if len(self._kinds) < KINDS_MAX else "", _Kind())
        if not found.take(time.monotonic()):
            found.left_out += 1
            _Suppressed.lines += 1
            return
        if found.left_out:
            fields["suppressed"], found.left_out = found.left_out, 0
        self._logger.warning(self._event, **fields)


class _Kind:
    """How many lines of one kind there is room for."""

    __slots__ = ("_at", "_room", "left_out")

    def __init__(self) -> None:
        self._room = float(WARNINGS_AT_ONCE)
        self._at = time.monotonic()
        self.left_out = 0

    def take(self, now: float) -> bool:
        self._room = min(self._room + (now - self._at) * WARNINGS_PER_S, WARNINGS_AT_ONCE)
        self._at = now
        if self._room < 1:
            return False
        self._room -= 1
        return True
