"""Owns `tokn audit`: the proof of the books, and the log of who did what to them."""

from typing import Annotated, Final

import typer

from runtime.service import EXIT_FAILED
from schemas.verbs.acts import LogQuery
from schemas.verbs.audit import AUDIT, AuditQuery
from tokn import show
from tokn.options import AsJson, Config, Data, ledger_of

FINDINGS_SHOWN: Final = 50

audit_app = typer.Typer(
    help="Prove the books, or read the log of acts.", invoke_without_command=True, rich_markup_mode=None
)


@audit_app.callback()
def audit(context: typer.Context, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Prove the books: exit code 0 only if they balance. `tokn audit log` reads the log of acts."""
    if context.invoked_subcommand is not None:
        if config is not None or data is not None or as_json:
            raise typer.BadParameter("options stand behind `log`")
        return
    row = dict(ledger_of(config, data).ask(AUDIT, AuditQuery()).rows[0])
    if as_json:
        show.json_lines([row])
    else:
        findings = row.get("findings", [])
        show.fields({name: value for name, value in row.items() if name != "findings"}, title="Audit")
        show.table(
            findings[:FINDINGS_SHOWN],
            ("invariant", "request_id", "detail"),
            title=f"{len(findings)} findings",
            empty="The books balance." if row["ok"] else "No details.",
        )
    raise typer.Exit(0 if row["ok"] else EXIT_FAILED)


@audit_app.command("log")
def log(  # noqa: PLR0917  Typer calls it by name
    actor: Annotated[str, typer.Option(help="Only what this one did.")] = "",
    action: Annotated[str, typer.Option(help="Only acts of this name.")] = "",
    target: Annotated[str, typer.Option(help="Only what was done to this.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many entries at most.")] = 100,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what to the books, newest first; --json has what was before and after."""
    query = LogQuery(actor=actor, action=action, target=target)
    rows = ledger_of(config, data).pages(limit, query)
    if as_json:
        show.json_lines(rows)
    else:
        show.table(map(show.entry, rows), show.ENTRY, title="Audit log", empty="No acts yet.")
