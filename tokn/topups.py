"""Owns the commands for payments through Stripe: to make an address at which a wallet is topped up, and what became of those."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from runtime.ledger import once
from schemas.admin.reads import TOPUPS, TopupsQuery
from schemas.admin.verbs import TOPUP_CREATE
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import VERSION
from schemas.verbs.topups import STRIPE_S, TOPUP, TopupCreate
from tokn import show
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of, nano_of

PATIENCE: Final = once(STRIPE_S + 10)  # a ledger asks Stripe meanwhile, and is not asked twice for that


def topup(  # noqa: PLR0917  Typer calls it by name
    organization: Annotated[str, typer.Argument(metavar="ORG", help="Whose wallet.")],
    usd: Annotated[str, typer.Argument(metavar="USD", help="From 1 to 10000, in whole cents.")],
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an address at which somebody tops a wallet up through Stripe."""
    form = TopupCreate(VERSION, organization, nano_of(usd, least=1, what="USD"))
    row = ledger_of(config, data).act(TOPUP_CREATE, form, idempotency_key, TOPUP, PATIENCE)
    if as_json:
        show.json_lines([row])
    else:
        typer.echo(row["url"] or f"{row['id']} is {row['status']}")


def topups(
    organization: Annotated[str, typer.Argument(metavar="[ORG]", help="Only this wallet's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was paid into wallets through Stripe, newest first, and what was taken back of it."""
    rows = ledger_of(config, data).admin_pages(limit, TOPUPS, TopupsQuery(organization=organization))
    columns = ("topup", "about")
    show.many(rows, as_json, columns, title="Top-ups", empty="No top-ups yet.", shown=_shown)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A top-up in two cells that fit a narrow terminal: which one it is and how far; how much, and what was taken back."""
    lines = [f"{nano_to_usd(row['amount_nano'])} USD", row["organization"]]
    taken = {
        "returned": row["returned_nano"],
        "disputed": row["disputed_nano"],
        "as bad debt": row["bad_debt_nano"],
    }
    lines += [f"{nano_to_usd(nano)} USD {what}" for what, nano in taken.items() if nano]
    lines += [row["payment"]] if row["payment"] else []
    made = show.cell("created", row["created"])
    return {"topup": "\n".join((row["id"], row["status"], made)), "about": "\n".join(lines)}


TOPUP_COMMANDS: Final[tuple[Callable[..., None], ...]] = (topup, topups)
