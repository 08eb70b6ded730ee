"""Owns `tokn statement` and `tokn export`: months of organisations, and the books as files."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from schemas.exports import CSVS
from schemas.exports.statement import statement_csv
from schemas.verbs.exports import ExportQuery
from schemas.verbs.statements import STATEMENT, STATEMENT_ISSUE, StatementIssue, StatementList, StatementQuery
from tokn import show
from tokn.options import AsJson, Config, Data, ledger_of
from tokn.times import utc

_LISTED = ("id", "period", "status", "number", "opening_nano", "closing_nano")
_LINES = ("kind", "of", "calls", "tokens", "amount_nano")


class Exported(StrEnum):
    """What can be exported."""

    JOURNAL = "journal"
    CALLS = "calls"
    FOCUS = "focus"


def statement(  # noqa: PLR0917  Typer calls it by name
    organization: Annotated[str, typer.Argument(metavar="ORG", help="The organisation's id.")],
    month: Annotated[
        str, typer.Argument(metavar="[MONTH]", help="As 2026-11. Left out: all that were issued.")
    ] = "",
    issue: Annotated[
        bool, typer.Option("--issue", help="Issue it for good; nothing happens if it is issued already.")
    ] = False,
    as_html: Annotated[bool, typer.Option("--html", help="A page that prints on A4.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, amounts in nano-dollars.")] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show a month of an organisation: what it opened with, what moved, what it closed with. A draft until it is issued."""
    if as_html + as_csv + as_json > 1:
        raise typer.BadParameter("choose one of --html, --csv and --json")
    if not month and (issue or as_html or as_csv):
        raise typer.BadParameter("name a month, as in 2026-11", param_hint="MONTH")
    asked = ledger_of(config, data)
    if not month:
        rows = asked.pages(sys.maxsize, StatementList(organization=organization))
        show.many(rows, as_json, _LISTED, title="Statements", empty="No statement was issued yet.")
        return
    if issue:
        _issue(asked, organization, month)
    found = _whole(asked, organization, month)
    if as_html:
        _html(found)
    elif as_csv:
        sys.stdout.write(statement_csv(found))
    elif as_json:
        show.json_lines([found])
    else:
        _print(found)


def _issue(asked: Any, organization: str, month: str) -> None:
    from tokn.ledger import actor  # noqa: PLC0415  a service does not load the operator's client

    asked.ask(STATEMENT_ISSUE, StatementIssue(organization=organization, period=month, actor=actor()))


def _whole(asked: Any, organization: str, month: str) -> dict[str, Any]:
    """A statement with all its lines."""
    query = StatementQuery(organization=organization, period=month)
    lines: list[dict[str, Any]] = []
    while True:
        reply = asked.ask(STATEMENT, query)
        lines += reply.rows[0]["lines"]
        if not reply.cursor:
            return {**reply.rows[0], "lines": lines}
        query = msgspec.structs.replace(query, after=int(reply.cursor))


def _html(found: dict[str, Any]) -> None:
    from web.pages import Pages  # noqa: PLC0415  templates are for this alone
    from web.statement import page  # noqa: PLC0415  as above

    sys.stdout.write(page(Pages(), found, alone=True).decode())


def _print(found: dict[str, Any]) -> None:
    people = (found["buyer"]["name"], found["problem"])
    shown = {name: found[name] for name in ("id", "status", "number", "timezone")}
    shown |= {name: text for name, text in zip(("name", "problem"), people, strict=True) if text}
    show.fields(shown, title=f"Statement of {found['organization']}, {found['period']}")
    ends = [{"kind": name, "amount_nano": found[f"{name}_nano"]} for name in ("opening", "closing")]
    lines = [
        {**line, "of": ", ".join(one for one in (line["model"], line["key"]) if one)}
        for line in found["lines"]
    ]
    rows = [{"of": "", "calls": "", "tokens": "", **row} for row in (ends[0], *lines, ends[1])]
    show.table(rows, _LINES, title="Lines", empty="")


def export(  # noqa: PLR0917  Typer calls it by name
    what: Annotated[Exported, typer.Argument(help="Transfers, calls, or usage in FOCUS 1.2.")],
    since: Annotated[str, typer.Option("--from", metavar="DATE", help="From this day or time (UTC).")] = "",
    until: Annotated[str, typer.Option("--to", metavar="DATE", help="Before this day or time (UTC).")] = "",
    organization: Annotated[str, typer.Option(metavar="ORG", help="Only this organisation's.")] = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Print the books as CSV, as they are at one moment, whatever is booked meanwhile."""
    query = ExportQuery(
        name=what.value,
        since_ms=_moment_ms(since, "--from"),
        until_ms=_moment_ms(until, "--to"),
        organization=organization,
    )
    if 0 < query.until_ms <= query.since_ms:
        raise typer.BadParameter("must be after --from", param_hint="--to")
    made = CSVS[what.value]()
    pages = ledger_of(config, data).export(query)
    sys.stdout.write(made.head())
    for page in pages:
        sys.stdout.write(made.lines(page.rows[0]["rows"]))
    sys.stdout.write(made.tail())


def _moment_ms(text: str, option: str) -> int:
    """A day's start or a time in UTC, as unix milliseconds; 0 for an empty text."""
    try:
        return int(utc(text).timestamp() * 1000) if text else 0
    except ValueError:
        why = "give a date (2026-11-01) or a time (2026-11-01T12:00:00Z)"
        raise typer.BadParameter(why, param_hint=option) from None
