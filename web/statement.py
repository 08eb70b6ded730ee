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


def page(pages: Pages, statement: Mapping[str, Any], *, alone: bool = False) -> bytes:
    """A statement, with all its lines, as a ledger gives it. `alone` is for a file with nothing beside it."""
    seller = statement["seller"]
    return pages.render(
        "statement.html",
        title=f"Statement {statement['number'] or statement['period']}",
        style=_style(pages) if alone else "",
        statement=statement,
        seller=seller,
        buyer=statement["buyer"],
        lines=_shown(statement["lines"]),
    )


def _style(pages: Pages) -> Markup:
    return Markup(pages.assets.named("statement.css").body.decode())  # noqa: S704  a file of this package


def _shown(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = [_line(line) for line in lines[:LINES_MAX]]
    if rest := lines[LINES_MAX:]:
        more = f"{len(rest)} more lines"
        sums = {name: sum(line[name] for line in rest) for name in ("calls", "tokens", "amount_nano")}
        found.append(_line({"kind": CHARGE, "key": more, "model": "", **sums}))
    return found


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    charge = line["kind"] == CHARGE
    of = ", ".join(one for one in (line["model"], line["key"]) if one)
    return {
        "what": f"Usage: {of}" if charge else _KINDS.get(line["kind"], line["kind"]),
        "calls": count(line["calls"]) if charge else "",
        "tokens": count(line["tokens"]) if charge else "",
        "amount_nano": line["amount_nano"],
    }
