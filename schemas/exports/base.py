"""Owns what an export to CSV is, and how its cells are written: so that no spreadsheet takes a text for a formula."""

import csv
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
