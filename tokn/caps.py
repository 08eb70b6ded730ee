"""Owns `tokn cap`: spend caps of keys and organisations, made, listed, changed and ended."""

import hashlib
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from schemas.bus.subjects import new_id
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import VERSION
from schemas.verbs.caps import (
    ALERT_PERCENT,
    CapCreate,
    CapEnd,
    CapList,
    CapUpdate,
    NewCap,
)
from tokn import show
from tokn.named import KEY_HELP, key_id
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of, nano_of

cap_app = typer.Typer(
    help="Make, list, change and end spend caps.", no_args_is_help=True, rich_markup_mode=None
)
COLUMNS: Final = show.CAP

_Key = Annotated[str, typer.Option("--key", metavar="KEY", help=KEY_HELP)]
_Organization = Annotated[str, typer.Option("--organization", metavar="ORG", help="The organisation.")]
_Alert = Annotated[int | None, typer.Option("--alert", metavar="PERCENT", help="Say when so much is spent.")]


def id_by(text: str) -> str:
    """The id of a cap that is made by a request: the same again has the same id."""
    return f"cap_{hashlib.sha256(text.encode()).hexdigest()[:28]}"


def new_cap(text: str, id_: str) -> NewCap:
    """A cap as PERIOD=USD, or PERIOD=USD@ZONE. Raises BadParameter."""
    period, equals, rest = text.partition("=")
    usd, _, zone = rest.partition("@")
    if not equals:
        raise typer.BadParameter("write a cap as day=5 or month=100@Europe/Berlin", param_hint="--cap")
    return NewCap(id_, period, nano_of(usd, least=0, what="--cap"), zone)


@cap_app.command("create")
def create(  # noqa: PLR0917  Typer calls it by name
    usd: Annotated[str, typer.Argument(metavar="USD", help="What may be spent in a period.")],
    period: Annotated[str, typer.Option(help="day, week, month or total.")],
    key: _Key = "",
    organization: _Organization = "",
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="A time zone as Europe/Berlin. Left out: the organisation's.")
    ] = "",
    alert: _Alert = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Cap what a key, or all keys of an organisation together, may spend by day, week, month or for good.

    What was spent in the running period counts, and so do calls in flight.
    """
    percent = ALERT_PERCENT if alert is None else alert
    again = idempotency_key or new_id("idem_")
    cap = NewCap(id_by(again), period, nano_of(usd, least=0, what="USD"), zone, percent)
    asked = ledger_of(config, data)
    request = CapCreate(VERSION, cap, key_id(asked, key) if key else "", organization)
    _print(asked.act("cap_create", request, again), as_json, "Cap")


@cap_app.command("list")
def list_caps(
    key: _Key = "",
    organization: _Organization = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the caps in force, with what is spent, held and left."""
    asked = ledger_of(config, data)
    named = key_id(asked, key) if key else ""
    rows = asked.pages(sys.maxsize, CapList(VERSION, named, organization))
    empty = "No caps. Make one: tokn cap create 5 --period day --key KEY"
    show.many(rows, as_json, COLUMNS, title="Caps", empty=empty, shown=_cells)


@cap_app.command("update")
def update(  # noqa: PLR0917  Typer calls it by name
    cap: Annotated[str, typer.Argument(metavar="CAP", help="The cap's id.")],
    usd: Annotated[
        str, typer.Argument(metavar="[USD]", help="What may be spent in a period from now on.")
    ] = "",
    alert: _Alert = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change a cap. Below what is spent already it stops new calls; calls in flight go on."""
    limit = nano_of(usd, least=0, what="USD") if usd else None
    if limit is None and alert is None:
        raise typer.BadParameter("give USD or --alert")
    request = CapUpdate(VERSION, cap, limit, alert)
    _print(ledger_of(config, data).act("cap_update", request, idempotency_key), as_json, "Cap")


@cap_app.command("end")
def end(
    cap: Annotated[str, typer.Argument(metavar="CAP", help="The cap's id.")],
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End a cap: it bounds no new call from now on."""
    row = ledger_of(config, data).act("cap_end", CapEnd(VERSION, cap), idempotency_key)
    _print(row, as_json, "Ended")


def _print(row: dict[str, Any], as_json: bool, title: str) -> None:
    show.one(row, as_json, title, _fields(row))


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """A cap for people, a figure a line."""
    current = row["current"] or {}
    shown = {"id": row["id"], **row["scope"], "period": row["period"], "timezone": row["timezone"]}
    shown |= {name: row[name] for name in ("limit_nano", "alert_percent")}
    shown |= {name: current[name] for name in ("spent_nano", "held_nano", "remaining_nano") if current}
    if current.get("ends_at"):
        shown["until"] = current["ends_at"]
    if row["begins_at"]:
        shown["note"] = f"too many calls to count in this period: it begins at {_time(row['begins_at'])} UTC"
    return shown


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """A cap in two cells that fit a narrow terminal."""
    ((kind, whose),) = row["scope"].items()
    current = row["current"]
    alert = f"{row['alert_percent']} % are spent\n" if current and current["alert"] else ""
    if current is None:
        now = f"begins at {_time(row['begins_at'])} UTC"
    else:
        spent, held, left = (nano_to_usd(current[f"{name}_nano"]) for name in ("spent", "held", "remaining"))
        until = f"\nuntil {_time(current['ends_at'])} UTC" if current["ends_at"] else ""
        now = f"spent {spent}\nheld {held}\nleft {left}{until}"
    return {
        "cap": f"{row['id']}\n{kind} {whose}\nby {row['period']}, {row['timezone']}",
        "usd": f"{alert}limit {nano_to_usd(row['limit_nano'])}\n{now}",
    }


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
