"""Owns calls as CSV: each that was billed or failed, with its tokens and what it came to; and a last line that proves the file."""

from collections.abc import Sequence
from typing import Any, Final

from schemas.exports.base import Proof, csv_lines, iso, safe
from schemas.money.pricing import TokenUsage

COLUMNS: Final = (
    "created",
    "request_id",
    "organization",
    "key_id",
    "model",
    "provider",
    "pool",
    "outcome",
    "known",
    "attempt",
    "price_ref",
    "rate",
    *(f"{name}_tokens" for name in TokenUsage.__struct_fields__),
    "list_nano",
    "billed_nano",
    "refunded_nano",
    "net_nano",
    "uncollected_nano",
    "queued_ms",
    "first_byte_ms",
    "duration_ms",
)
_NET: Final = COLUMNS.index("net_nano")


class CallsCsv:
    """Calls, in the order in which they were booked. The sum of the last line is that of what they came to."""

    def __init__(self) -> None:
        self._proof = Proof()

    def head(self) -> str:
        """The line of columns."""
        return self._proof.told(csv_lines([COLUMNS]))

    def lines(self, rows: Sequence[Sequence[Any]]) -> str:
        """A page of calls."""
        text = csv_lines(
            [iso(row[0]), *(safe(cell) if isinstance(cell, str) else cell for cell in row[1:])]
            for row in rows
        )
        return self._proof.told(text, (row[_NET] for row in rows))

    def tail(self) -> str:
        """The comment."""
        return self._proof.line()
