"""Owns the options that commands share, and the ledger that these name."""

from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.catalogue.presets import presets
from schemas.money.amounts import AmountError, usd_to_nano
from tokn.settings import DATA_DEFAULT, variable

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration file. Left out: ./tokn.toml if it is there."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help=f"The data folder of tokn up. Left out: TOKN_DATA, else ./{DATA_DEFAULT}.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="JSON for programs: amounts in nano-dollars, unix times.")
]


IdempotencyKey = Annotated[
    str,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Repeat an act that may have been done: with its key it is done once.",
        show_default=False,
    ),
]

LowBalance = Annotated[
    str | None,
    typer.Option(
        "--low-balance",
        metavar="USD",
        help="Tell (balance.low) when less is left. 0: never.",
        show_default=False,
    ),
]


def low_nano(text: str | None) -> int | None:
    """A low balance as it was written, in nano-dollars; None where there is no word of it. Raises BadParameter."""
    return None if text is None else nano_of(text, least=0, what="--low-balance")


def names_of(text: str) -> tuple[str, ...]:
    """Names with commas between, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def providers_of(text: str | None) -> tuple[str, ...] | None:
    """A list of providers as it was written; None where there is no word of it. Raises typer.BadParameter."""
    if text is None:
        return None
    names = names_of(text)
    unknown = [name for name in names if name not in presets()]
    if unknown or not names:
        raise typer.BadParameter(f"choose from {', '.join(presets())}", param_hint="--providers")
    return names


def folder_of(data: Path | None) -> Path:
    """The data folder that an option or the environment names."""
    return data or Path(variable("TOKN_DATA") or DATA_DEFAULT)


def ledger_of(config: Path | None, data: Path | None) -> Any:
    """The ledger that a command asks. Raises NoLedgerError, SettingsError."""
    from tokn.ledger import Ledger, find  # noqa: PLC0415  a service does not load the operator's client

    return Ledger(find(config, folder_of(data)))


def nano_of(text: str, *, least: int, what: str) -> int:
    """An amount of USD in nano-dollars. Raises BadParameter."""
    try:
        amount = usd_to_nano(text)
    except AmountError as error:
        raise typer.BadParameter(str(error), param_hint=what) from None
    if amount < least:
        raise typer.BadParameter("must be more than 0" if least else "must not be negative", param_hint=what)
    return amount
