"""Owns which version this is: `tokn --version` says it."""

from typing import Annotated, Final

import typer

VERSION: Final = "0.2.0"


def _say(asked: bool) -> None:
    if asked:
        typer.echo(f"tokn {VERSION}")
        raise typer.Exit


def every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_say)
    ] = False,
) -> None:
    """What stands before any command."""
