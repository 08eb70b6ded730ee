"""Owns what an export to CSV is, and how its cells are written: so that no spreadsheet takes a text for a formula."""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

_DANGEROUS: Final = (
    *"=+-@",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)

_CONTROLS: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")


class Export(Protocol):
    """One export in the making: its first line, the lines of each page in turn, and what comes last."""

    def head(self) -> str:
        """The line of columns."""
        ...

    def lines(self, rows: Sequence[Sequence[Any]]) -> str:
        """What a page of the ledger adds; it may be kept back."""
        ...

    def tail(self) -> str:
        """What was kept back, and what ends the file."""
        ...


class Proof:
    """What the last line of a file says of all lines before it: rows, the sum of their amounts, and the SHA-256 of all."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._count = 0
        self._sum_nano = 0

    def told(self, text: str, amounts_nano: Iterable[int] = ()) -> str:
        """Counts what is written, and the amount of each of its rows."""
        self._hash.update(text.encode())
        for nano in amounts_nano:
            self._count += 1
            self._sum_nano += nano
        return text

    def line(self) -> str:
        """The comment. A file without it is not whole."""
        return f"# rows={self._count} sum_nano={self._sum_nano} sha256={self._hash.hexdigest()}\n"


def safe(text: str) -> str:
    """Somebody's words as a cell: on one line, and with an apostrophe before what a spreadsheet would calculate."""
    text = text.translate(_CONTROLS)
    return f"'{text}" if text.lstrip().startswith(_DANGEROUS) else text


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as lines of CSV that end in a line feed."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


def iso(unix_ms: int) -> str:
    """A moment as 2026-11-26T13:00:00.123Z."""
    at = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}Z"


def iso_s(unix_s: int) -> str:
    """A moment as 2026-11-26T13:00:00Z."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
