"""Owns `tokn parked`: events that could not be applied, for a person to look at, apply again or dismiss."""

from typing import Annotated

import typer

from schemas.verbs.base import VERSION
from schemas.verbs.parked import PARKED, ParkedQuery, ParkedRef
from tokn import show
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of


def parked(  # noqa: PLR0917  Typer calls it by name
    request: Annotated[str, typer.Argument(metavar="[REQ]", help="Only this call's.")] = "",
    bill: Annotated[bool, typer.Option("--bill", help="Apply it again, and bill its call.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Take it away: it has been looked at.")] = False,
    attempt: Annotated[int, typer.Option(help="Which attempt's, to bill or dismiss.")] = 1,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: it stands in the log.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most, up to 100.")] = 100,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show events that could not be applied, or bill or dismiss one."""
    asked = ledger_of(config, data)
    if bill or dismiss:
        if not request or (bill and dismiss):
            raise typer.BadParameter("give REQ and one of --bill and --dismiss")
        form = ParkedRef(VERSION, request, attempt, reason)
        row = asked.act("parked_bill" if bill else "parked_dismiss", form, idempotency_key)
        show.one(row, as_json, "Done")
        return
    rows = asked.ask(PARKED, ParkedQuery(request_id=request, limit=limit)).rows
    columns = ("request_id", "attempt", "pool", "why", "created")
    show.many(rows, as_json, columns, title="Parked events", empty="Nothing is parked.")
