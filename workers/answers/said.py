"""Owns what is kept of an answer's output for an estimate: how long it is, its beginning and its end."""

from typing import Final

from schemas.bus.usage import utf8_bytes
from schemas.estimates.sample import Sample
from schemas.estimates.starts import start_of
from schemas.estimates.text import weigh
from schemas.estimates.weighed import tokens_of

KEPT_CHARS: Final = 4 * 1024  # of its beginning, and as many of its end
FIRST_MARK_BYTES: Final = 2 * 1024  # an output that is shorter is told by its bytes while it lasts
MARKS_APART: Final = 4  # times the bytes of the mark before
MARK_CHARS: Final = 512
TOKENS_PER_BYTE: Final = 0.25


class Said:
    """Content, refusals, reasoning and tool arguments of one exchange, in the order in which they came."""

    __slots__ = ("_density", "_first", "_kept", "_mark", "_short_bytes", "count_bytes")

    def __init__(self) -> None:
        self.count_bytes = 0
        self._first = ""
        self._kept: list[str] = []  # what came after, shortened now and then
        self._short_bytes = (
            3 * KEPT_CHARS
        )  # up to so many in all `_kept` is short: a byte is at most a character
        self._mark = FIRST_MARK_BYTES
        self._density = TOKENS_PER_BYTE

    def add(self, text: str) -> None:
        """A piece of output."""
        self.count_bytes += len(text) if text.isascii() else utf8_bytes(text)
        self._kept.append(text)
        if self.count_bytes > self._short_bytes:
            self._shorten()

    def add_bytes(self, count_bytes: int, like: str) -> None:
        """Output that is not at hand, as dense as a text that is."""
        self.count_bytes += count_bytes
        self._kept.append(like[:KEPT_CHARS])
        self._short_bytes = 0  # nobody knows: the next piece has it looked at

    def _shorten(self) -> None:
        text = "".join(self._kept)
        if len(text) > 3 * KEPT_CHARS:
            if not self._first:
                self._first, text = text[:KEPT_CHARS], text[KEPT_CHARS:]
            text = text[-KEPT_CHARS:]
        self._kept = [text]
        self._short_bytes = self.count_bytes + 3 * KEPT_CHARS - len(text)

    def tokens(self, upstream: str) -> int:
        """What a model's provider likely counts for all of it, rounded up."""
        if not self.count_bytes:
            return 0
        text = self._first + "".join(self._kept)[-KEPT_CHARS if self._first else 0 :]
        sample = Sample(text, 0, utf8_bytes(text), self.count_bytes)
        return max(tokens_of(sample, start_of(upstream).factor), 1)

    def tokens_so_far(self, upstream: str) -> float:
        """A quick figure for it while it grows: looked at anew each time that it is MARKS_APART times as long."""
        if self.count_bytes >= self._mark:
            self._mark = self.count_bytes * MARKS_APART
            text = "".join(self._kept)[-MARK_CHARS:] or self._first[-MARK_CHARS:]
            if text:
                self._density = weigh(text).tokens * start_of(upstream).factor / utf8_bytes(text)
        return self.count_bytes * self._density
