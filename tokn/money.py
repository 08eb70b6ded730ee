"""Owns the commands that move money: what each asks for. Every one is done once, and says whether it was."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from schemas.verbs.base import VERSION
from schemas.verbs.money import CreditsQuery, Move, Post, Refund, UpstreamDeposit, WriteOff
from tokn import show
from tokn.errors import RefusedError
from tokn.named import KEY_HELP, key_id
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of, nano_of
from tokn.times import utc

NEGATIVE: Final = {
    "ignore_unknown_options": True
}  # "-5" is an amount, though perhaps not one that may stand there
_AFTER = re.compile(r"([1-9]\d{0,5})([dh])")
_UNIT_S: Final = {"d": 86_400, "h": 3_600}
_PAIR: Final = 2

Playground = Annotated[
    str | None, typer.Option("--playground", metavar="PROFILE", help="This profile's playground: USD alone.")
]
Organization = Annotated[
    str | None, typer.Option("--organization", metavar="ORG", help="This organisation's wallet: USD alone.")
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why: it stands in the log.")]
Reference = Annotated[
    str, typer.Option(metavar="TEXT", help="Your own number for it, such as an invoice's: taken once a kind.")
]
Words = Annotated[list[str], typer.Argument(metavar="KEY USD", help=f"{KEY_HELP} Then an amount.")]


class Given(StrEnum):
    """What a credit is."""

    DEPOSIT = "deposit"
    PROMOTIONAL = "promotional"
    GOODWILL = "goodwill"
    ADJUSTMENT = "adjustment"


class Taken(StrEnum):
    """What a debit is."""

    ADJUSTMENT = "adjustment"
    DEPOSIT_RETURN = "deposit_return"


def _owner(asked: Any, named: str, playground: str | None, organization: str | None) -> str:
    if playground is not None:
        return f"playground:{playground}"
    if organization is not None:
        return f"org:{organization}"
    try:
        return f"key:{key_id(asked, named)}"
    except RefusedError as error:
        raise RefusedError(f"not done: {error}") from None


def _words(words: list[str], playground: str | None, organization: str | None) -> tuple[str, int]:
    """Who is named, and how much in nano-dollars: all that can be wrong before a ledger is asked."""
    named = playground is not None or organization is not None
    if len(words) != _PAIR - named or (playground is not None and organization is not None):
        raise typer.BadParameter(
            "give KEY USD, or one of --playground PROFILE and --organization ORG, and USD"
        )
    return words[0], nano_of(words[-1], least=1, what="USD")


def _expiry(text: str) -> tuple[int, int]:
    """When credit ends: unix milliseconds, or seconds from now. Both are 0 for never."""
    if not text:
        return 0, 0
    if found := _AFTER.fullmatch(text):
        return 0, int(found[1]) * _UNIT_S[found[2]]
    try:
        return int(utc(text).timestamp() * 1000), 0
    except ValueError:
        raise typer.BadParameter("give 30d, 12h, or a date as 2026-12-31", param_hint="--expires") from None


def _print(row: dict[str, Any], as_json: bool) -> None:
    credit = row["credit"]
    shown = {name: value for name, value in row.items() if not isinstance(value, dict)}
    shown |= {"credit": credit["id"], "kind": credit["kind"], "amount_nano": credit["amount_nano"]}
    show.one(row, as_json, "Done", shown)


def credit(  # noqa: PLR0917  Typer calls it by name
    words: Words,
    playground: Playground = None,
    organization: Organization = None,
    kind: Annotated[Given, typer.Option(help="What it is.")] = Given.DEPOSIT,
    expires: Annotated[
        str, typer.Option(metavar="30d|DATE", help="When promotional credit ends.", show_default=False)
    ] = "",
    reason: Reason = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Add to a balance: a key's, a wallet's or a playground's."""
    named, amount = _words(words, playground, organization)
    expires_ms, expires_in_s = _expiry(expires)
    asked = ledger_of(config, data)
    owner = _owner(asked, named, playground, organization)
    form = Post(VERSION, owner, amount, reason, reference, expires_ms, expires_in_s)
    _print(asked.act(kind.value, form, idempotency_key), as_json)


def debit(  # noqa: PLR0917  Typer calls it by name
    words: Words,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: it is needed, and stands in the log.")],
    playground: Playground = None,
    organization: Organization = None,
    kind: Annotated[Taken, typer.Option(help="What it is.")] = Taken.ADJUSTMENT,
    reference: Reference = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take from a balance what is available there."""
    named, amount = _words(words, playground, organization)
    asked = ledger_of(config, data)
    owner = _owner(asked, named, playground, organization)
    signed = -amount if kind is Taken.ADJUSTMENT else amount
    form = Post(VERSION, owner, signed, reason, reference)
    _print(asked.act(kind.value, form, idempotency_key), as_json)


def refund(  # noqa: PLR0917  Typer calls it by name
    request: Annotated[str, typer.Argument(metavar="REQ", help="The call's x-request-id.")],
    usd: Annotated[str, typer.Argument(metavar="[USD]", help="Left out: all that is left.")] = "",
    reason: Reason = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give back a call's bill, or a part of it, to the balance that paid."""
    amount = nano_of(usd, least=1, what="USD") if usd else 0
    form = Refund(VERSION, request, amount, reason, reference)
    _print(ledger_of(config, data).act("refund", form, idempotency_key), as_json)


def move(  # noqa: PLR0917  Typer calls it by name
    source: Annotated[str, typer.Argument(metavar="FROM", help="A key, or org:ORG.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A key, or org:ORG.")],
    usd: Annotated[str, typer.Argument(metavar="USD")],
    reason: Reason = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Move money between two balances of one organisation."""
    amount = nano_of(usd, least=1, what="USD")
    asked = ledger_of(config, data)
    named = [one if one.startswith("org:") else _owner(asked, one, None, None) for one in (source, target)]
    form = Move(VERSION, named[0], named[1], amount, reason)
    _print(asked.act("move", form, idempotency_key), as_json)


def write_off(  # noqa: PLR0917  Typer calls it by name
    usd: Annotated[str, typer.Argument(metavar="[USD]", help="Left out: all of it.")] = "",
    reason: Reason = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give up usage that no balance covered."""
    form = WriteOff(VERSION, nano_of(usd, least=1, what="USD") if usd else 0, reason)
    _print(ledger_of(config, data).act("write_off", form, idempotency_key), as_json)


def credits_(  # noqa: PLR0917  Typer calls it by name
    key: Annotated[str, typer.Argument(metavar="[KEY]", help="Only this key's.")] = "",
    playground: Annotated[str | None, typer.Option(metavar="PROFILE", help="Only this playground's.")] = None,
    organization: Annotated[str | None, typer.Option(metavar="ORG", help="Only this wallet's.")] = None,
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was given and taken, newest first, and what is left of credit that ends."""
    if (key != "") + (playground is not None) + (organization is not None) > 1:
        raise typer.BadParameter("name one of KEY, --playground and --organization")
    everyone = not key and playground is None and organization is None
    asked = ledger_of(config, data)
    query = CreditsQuery(owner="" if everyone else _owner(asked, key, playground, organization), kind=kind)
    rows = asked.pages(limit, query)
    show.many(rows, as_json, show.CREDIT, title="Credits", empty="No credits yet.", shown=show.credit)


credits_.__name__ = "credits"
MONEY: Final[tuple[Callable[..., None], ...]] = (credit, debit, refund, move, write_off, credits_)

pool_app = typer.Typer(help="Top up the accounts of pools.", no_args_is_help=True, rich_markup_mode=None)


@pool_app.command("credit", context_settings=NEGATIVE)
def pool_credit(  # noqa: PLR0917  Typer calls it by name
    account: Annotated[str, typer.Argument(metavar="POOL:ACCOUNT")],
    usd: Annotated[str, typer.Argument(metavar="USD", help="Below zero takes it back.")],
    reason: Reason = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell that a pool's account was topped up with its provider."""
    pool, colon, name = account.partition(":")
    if not colon:
        raise typer.BadParameter("give POOL:ACCOUNT, as tokn pools shows them", param_hint="POOL:ACCOUNT")
    amount = nano_of(usd.removeprefix("-"), least=1, what="USD")
    form = UpstreamDeposit(VERSION, pool, name, -amount if usd.startswith("-") else amount, reason, reference)
    _print(ledger_of(config, data).act("upstream_deposit", form, idempotency_key), as_json)
