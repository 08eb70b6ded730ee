"""Owns the journal as CSV: every transfer, and a last line that tells whether the file is whole."""

from collections.abc import Sequence
from typing import Any, Final

from schemas.exports.base import Proof, csv_lines, iso, safe

COLUMNS: Final = (
    "created",
    "request_id",
    "kind",
    "attempt",
    "line",
    "debit",
    "credit",
    "amount_nano",
    "organization",
    "key_id",
)
_WORDS: Final = tuple(
    COLUMNS.index(name) for name in ("request_id", "debit", "credit", "organization", "key_id")
)
_AMOUNT: Final = COLUMNS.index("amount_nano")


class JournalCsv:
    """The journal. Its last line is a comment: rows, the sum of their amounts, and the SHA-256 of all lines before it."""

    def __init__(self) -> None:
        self._proof = Proof()

    def head(self) -> str:
        """The line of columns."""
        return self._proof.told(csv_lines([COLUMNS]))

    def lines(self, rows: Sequence[Sequence[Any]]) -> str:
        """A page of transfers."""
        made = []
        for row in rows:
            cells = [iso(row[0]), *row[1:]]
            for place in _WORDS:
                cells[place] = safe(cells[place])
            made.append(cells)
        return self._proof.told(csv_lines(made), (row[_AMOUNT] for row in rows))

    def tail(self) -> str:
        """The comment."""
        return self._proof.line()
