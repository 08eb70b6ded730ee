"""Owns `tokn org`: organisations, which own keys and a wallet."""

import sys
from typing import Annotated, Any

import typer

from schemas.verbs.base import VERSION
from schemas.verbs.organizations import (
    ORG_SHOW,
    OrganizationCreate,
    OrganizationList,
    OrganizationRef,
    OrganizationUpdate,
)
from tokn import show
from tokn.options import AsJson, Config, Data, IdempotencyKey, LowBalance, ledger_of, low_nano

org_app = typer.Typer(
    help="Make, list, show, change and suspend organisations.", no_args_is_help=True, rich_markup_mode=None
)
Organization = Annotated[str, typer.Argument(metavar="ORG", help="The organisation's id.")]
_COLUMNS = ("id", "name", "status", "available_nano", "created")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """An organisation with its balances as fields of their own, for people."""
    rest = {name: value for name, value in row.items() if name not in ("balance", "playground")}
    return {**rest, **row["balance"], "playground_nano": row["playground"]["posted_nano"]}


def _say(row: dict[str, Any], as_json: bool, title: str) -> None:
    show.one(row, as_json, title, _flat(row))


@org_app.command("create")
def create(  # noqa: PLR0917  Typer calls it by name
    id_: Annotated[str, typer.Argument(metavar="ORG", help="Its id, for good.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    email: Annotated[str, typer.Option(help="Whom to write to.")] = "",
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Like Europe/Berlin. Left out: UTC.")] = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an organisation with a wallet that its keys may draw on."""
    request = OrganizationCreate(VERSION, id_, name, email, timezone)
    _say(ledger_of(config, data).act("org_create", request, idempotency_key), as_json, "New organisation")


@org_app.command("list")
def list_(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List all organisations, by id."""
    rows = ledger_of(config, data).pages(sys.maxsize, OrganizationList(VERSION))
    show.many(rows, as_json, _COLUMNS, title="Organisations", empty="No organisations yet.", shown=_flat)


@org_app.command("show")
def show_(id_: Organization, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one organisation."""
    request = OrganizationRef(VERSION, id_)
    _say(dict(ledger_of(config, data).ask(ORG_SHOW, request).rows[0]), as_json, "Organisation")


@org_app.command("update")
def update(  # noqa: PLR0917  Typer calls it by name
    id_: Organization,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="Whom to write to.", show_default=False)] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Like Europe/Berlin.", show_default=False)
    ] = None,
    low_balance: LowBalance = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change an organisation: what no option names stays as it is."""
    if all(one is None for one in (name, email, timezone, low_balance)):
        raise typer.BadParameter("name what is to change: --name, --email, --timezone or --low-balance")
    low = low_nano(low_balance)
    request = OrganizationUpdate(VERSION, id_, name, email, timezone, low_balance_nano=low)
    _say(ledger_of(config, data).act("org_update", request, idempotency_key), as_json, "Organisation")


@org_app.command("suspend")
def suspend(
    id_: Organization,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Suspend an organisation: new calls of all its keys are refused until it is resumed."""
    request = OrganizationUpdate(VERSION, id_, status="suspended")
    _say(ledger_of(config, data).act("org_update", request, idempotency_key), as_json, "Suspended")


@org_app.command("resume")
def resume(
    id_: Organization,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Resume a suspended organisation."""
    request = OrganizationUpdate(VERSION, id_, status="active")
    _say(ledger_of(config, data).act("org_update", request, idempotency_key), as_json, "Resumed")
