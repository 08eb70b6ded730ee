"""Owns `tokn nats-config`: the configuration of nats-server that follows from a file of credentials."""

from pathlib import Path
from typing import Annotated

import typer

from runtime.bus import server


def nats_config(
    credentials: Annotated[Path, typer.Argument(metavar="FILE", help="Lines of `role password`.")],
    passwords: Annotated[
        bool, typer.Option("--passwords", help="Each role is one NATS user with its password.")
    ] = False,
) -> None:
    """Print the configuration of nats-server for these credentials; a role with two lines has both."""
    raise typer.Exit(server.main([str(credentials), *(["--passwords"] if passwords else [])]))
