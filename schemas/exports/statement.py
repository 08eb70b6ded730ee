"""Owns a monthly statement as CSV: a line for its opening, one for each of its lines, one for its closing."""

from collections.abc import Mapping, Sequence
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


class StatementCsv:
    """A statement, as a ledger gives it, with its lines page by page. The closing is the opening plus all between."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        self._statement = statement
        self._begin = [_cell(statement[name]) for name in _OF_ALL]

    def head(self) -> str:
        """The line of columns, and the opening."""
        return csv_lines([COLUMNS, self._balance("opening")])

    def lines(self, lines: Sequence[Mapping[str, Any]]) -> str:
        """A page of lines."""
        return csv_lines([*self._begin, *(_cell(line[name]) for name in _OF_LINES)] for line in lines)

    def tail(self) -> str:
        """The closing."""
        return csv_lines([self._balance("closing")])

    def _balance(self, kind: str) -> list[Any]:
        return [*self._begin, kind, *_NOTHING, self._statement[f"{kind}_nano"]]


def statement_csv(statement: Mapping[str, Any]) -> str:
    """A statement with all its lines."""
    made = StatementCsv(statement)
    return made.head() + made.lines(statement["lines"]) + made.tail()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return safe(value) if isinstance(value, str) else value
