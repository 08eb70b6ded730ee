"""Owns a monthly statement as CSV: a line for its opening, one for each of its lines, one for its closing."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.exports.base import csv_lines, safe

COLUMNS: Final = (
    "statement",
    "number",
    "status",
    "organization",
    "period",
    "kind",
    "key",
    "model",
    "calls",
    "tokens",
    "list_nano",
    "amount_nano",
)
_OF_ALL: Final = ("id", "number", "status", "organization", "period")
_OF_LINES: Final = ("kind", "key", "model", "calls", "tokens", "list_nano", "amount_nano")
_NOTHING: Final = ("",) * (len(_OF_LINES) - 2)  # between a kind and its amount


def statement_csv(statement: Mapping[str, Any]) -> str:
    """A statement, with all its lines, as a ledger gives it. The closing is the opening plus all lines between."""
    begin = [_cell(statement[name]) for name in _OF_ALL]
    rows = [[_cell(line[name]) for name in _OF_LINES] for line in statement["lines"]]
    rows.insert(0, ["opening", *_NOTHING, statement["opening_nano"]])
    rows.append(["closing", *_NOTHING, statement["closing_nano"]])
    return csv_lines([COLUMNS, *([*begin, *row] for row in rows)])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return safe(value) if isinstance(value, str) else value
