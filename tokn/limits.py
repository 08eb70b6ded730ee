"""Owns `tokn limits`: calls a minute, tokens a minute and calls in flight of a key, or of an organisation's keys together."""

from typing import Annotated

import typer

from schemas.verbs.base import VERSION
from schemas.verbs.limits import LIMITS_SET, LimitsSet
from tokn import show
from tokn.named import KEY_HELP, key_id
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of

_NONE = "none"


Rpm = Annotated[
    str | None, typer.Option("--rpm", metavar="N", help="Calls a minute, or none.", show_default=False)
]
Tpm = Annotated[
    str | None, typer.Option("--tpm", metavar="N", help="Tokens a minute, or none.", show_default=False)
]
InFlight = Annotated[
    str | None,
    typer.Option("--in-flight", metavar="N", help="Calls at the same time, or none.", show_default=False),
]


def limit_of(text: str | None, option: str) -> int | None:
    """A limit as it was written: None to leave it, 0 to have none."""
    if text is None:
        return None
    if text == _NONE:
        return 0
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise typer.BadParameter("give a number above 0, or none", param_hint=option)
    return int(text)


def limits(  # noqa: PLR0917  Typer calls it by name
    key: Annotated[str, typer.Argument(metavar="[KEY]", help=KEY_HELP)] = "",
    organization: Annotated[
        str, typer.Option("--organization", metavar="ORG", help="All keys of this organisation together.")
    ] = "",
    rpm: Rpm = None,
    tpm: Tpm = None,
    in_flight: InFlight = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show or set the limits of a key, or of all keys of an organisation together."""
    asked = ledger_of(config, data)
    request = LimitsSet(
        VERSION,
        key_id=key_id(asked, key) if key else "",
        profile=organization,
        rpm=limit_of(rpm, "--rpm"),
        tpm=limit_of(tpm, "--tpm"),
        in_flight=limit_of(in_flight, "--in-flight"),
    )
    if rpm is tpm is in_flight is None:
        row = dict(asked.ask(LIMITS_SET, request).rows[0])
    else:
        row = asked.act("limits_set", request, idempotency_key)
    show.one(row, as_json, "Limits")
