"""Owns how a monthly statement becomes a page: for a browser that gets its style beside it, or a file that has all in it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from web.figures import count
from web.pages import Pages

LINES_MAX: Final = 500  # on a page that people read; the rest is one line, and stands in the CSV
CHARGE: Final = "charge"
_KINDS: Final = {
    "deposit": "Deposits",
    "deposit_return": "Deposits returned",
    "dispute": "Disputed payments",
    "promotional": "Promotional credit",
    "goodwill": "Goodwill",
    "refund": "Refunds",
    "adjustment": "Adjustments",
    "move": "Moves between balances",
    "expiry": "Credit that ended",
}


class Sheet:
    """A statement's page in the making: its first lines, and of those beyond their sums."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        self.statement = statement
        self._lines: list[dict[str, Any]] = []
        self._more = 0
        self._sums = dict.fromkeys(("calls", "tokens", "amount_nano"), 0)

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """A page of lines, as a ledger gives them."""
        room = LINES_MAX - len(self._lines)
        self._lines += [_line(line) for line in lines[:room]]
        for line in lines[room:]:
            self._more += 1
            for name in self._sums:
                self._sums[name] += line[name]

    def page(self, pages: Pages, *, alone: bool = False, ways: Sequence[tuple[str, str]] = ()) -> bytes:
        """The page. `alone` is for a file with nothing beside it; `ways` are addresses and names, which are not printed."""
        more = {"kind": CHARGE, "key": f"{self._more} more lines", "model": "", **self._sums}
        return pages.render(
            "statement.html",
            title=f"Statement {self.statement['number'] or self.statement['period']}",
            style=_style(pages) if alone else "",
            statement=self.statement,
            seller=self.statement["seller"],
            buyer=self.statement["buyer"],
            lines=[*self._lines, *([_line(more)] if self._more else [])],
            ways=ways,
        )


def page(pages: Pages, statement: Mapping[str, Any], *, alone: bool = False) -> bytes:
    """The page of a statement with all its lines."""
    sheet = Sheet(statement)
    sheet.add(statement["lines"])
    return sheet.page(pages, alone=alone)


def _style(pages: Pages) -> Markup:
    return Markup(pages.assets.named("statement.css").body.decode())  # noqa: S704  a file of this package


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    charge = line["kind"] == CHARGE
    of = ", ".join(one for one in (line["model"], line["key"]) if one)
    return {
        "what": f"Usage: {of}" if charge else _KINDS.get(line["kind"], line["kind"]),
        "calls": count(line["calls"]) if charge else "",
        "tokens": count(line["tokens"]) if charge else "",
        "amount_nano": line["amount_nano"],
    }
