"""Owns `tokn models`: the table of all models with their prices and states, and why one can or cannot be called."""

import sys
from collections import Counter
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

import typer

from runtime.catalogue.age import SOURCES, as_of
from runtime.service import EXIT_FAILED
from schemas.verbs.base import VERSION
from schemas.verbs.models import MODELS_EXPLAIN, ModelRef, ModelsQuery, State
from tokn import show
from tokn.options import AsJson, Config, Data, ledger_of

DAYS_MAX: Final = 36_500
COLUMNS: Final = ("model, window", "USD per M, in / out", "state")

models_app = typer.Typer(
    help="Show all models with prices and states, or explain one.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@models_app.callback()
def models(  # noqa: PLR0917  Typer calls it by name
    context: typer.Context,
    pool: Annotated[str, typer.Option(help="Only this pool's.")] = "",
    provider: Annotated[str, typer.Option(help="Only this provider's.")] = "",
    state: Annotated[State | None, typer.Option(help="Only those in this state.", show_default=False)] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="Only ids that have this in them.")] = "",
    expiring: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            max=DAYS_MAX,
            help="Only those that end within so many days, the soonest first.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="How many models at most.", show_default=False)
    ] = sys.maxsize,
    every: Annotated[
        bool, typer.Option("--all", help="Also each pool's own names, and what has no route here.")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show all models with prices and states; `tokn models explain ID` says why one can be called or not."""
    if context.invoked_subcommand is not None:
        if config is not None or data is not None or as_json:
            raise typer.BadParameter("options stand behind `explain ID`")
        return
    query = ModelsQuery(
        VERSION,
        pool=pool,
        provider=provider,
        state=state.value if state is not None else "",
        text=search,
        expiring_days=expiring,
        every=every,
    )
    rows = ledger_of(config, data).pages(limit, query)
    if as_json:
        show.json_lines(rows)
        return
    shown = list(rows)
    show.table(map(cells, shown), COLUMNS, title=f"{len(shown)} models", empty="No model fits.")
    sys.stdout.write("".join(f"{line}\n" for line in age_lines(shown, datetime.now(UTC).date())))


@models_app.command("explain")
def explain(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="A model's id, or an alias.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say why a model can or cannot be called now. Exit code 0 only if it can."""
    row = ledger_of(config, data).ask(MODELS_EXPLAIN, ModelRef(VERSION, model_id)).rows[0]
    if as_json:
        show.json_lines([row])
    else:
        can = "can be called now" if row["callable"] else "cannot be called now"
        sys.stdout.write("".join(f"{line}\n" for line in (f"{row['id']} {can}.", *row["reasons"])))
    raise typer.Exit(0 if row["callable"] else EXIT_FAILED)


def cells(row: dict[str, Any]) -> dict[str, Any]:
    """A model in three cells that fit a narrow terminal: what it is, what it costs, and where it stands."""
    pools = "" if row["pools"] == [row["provider"]] else ", ".join(row["pools"])
    window = str(row["context_window"] or "")
    about = " · ".join(filter(None, (row["provider"], pools, window)))
    ends = [row["shutdown_date"], f"use {row['successor']}" if row["successor"] else None]
    return {
        COLUMNS[0]: "\n  ".join(filter(None, (row["id"], about))),
        COLUMNS[1]: _costs(row),
        COLUMNS[2]: "\n".join(filter(None, (row["state"].replace("_", " "), *ends))),
    }


def _costs(row: dict[str, Any]) -> str:
    if row["pricing"] is None:
        return "-"
    listed, billed = row["pricing"]["list"], row["pricing"]["billed"]
    more = ", tiers" if len(listed) > 1 else ""
    return "\n".join(
        (
            f"{listed[0]['input']} / {listed[0]['output']}{more} ({row['sources']})",
            f"billed {billed[0]['input']} / {billed[0]['output']}",
        )
    )


def age_lines(rows: list[dict[str, Any]], today: date) -> list[str]:
    """How many of the prices of some rows were found how; last, how old the catalogue is, and what it is made from."""
    days = [row["as_of"] for row in rows if row["as_of"]]
    read_on = date.fromisoformat(max(days)) if days else as_of()
    age = max((today - read_on).days, 0)
    counts = Counter(row["sources"] for row in rows if row["sources"])
    found = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    made_from = f"{', '.join(SOURCES[:-1])} and {SOURCES[-1]}"
    catalogue = f"Catalogue of {read_on}, {age} day{'' if age == 1 else 's'} old, from {made_from}."
    return [f"Prices: {found}.", catalogue] if found else [catalogue]
