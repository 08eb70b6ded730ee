"""Owns the commands of the console: running one, and signing in to one."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.settings.settings import load
from schemas.admin.credentials import digest, new_token
from schemas.admin.operators import LOCAL, SIGN_IN_S, SignInCreate
from schemas.verbs.base import VERSION
from tokn import show
from tokn.errors import RefusedError
from tokn.folder import Folder
from tokn.link import link
from tokn.options import AsJson, Config, Data, folder_of, ledger_of

console_app = typer.Typer(
    help="Run the console, or sign in to it.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@console_app.callback()
def console(
    context: typer.Context,
    config: Config = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on. [8001]", show_default=False)
    ] = None,
) -> None:
    """Run one console: pages and an API. Needs [nats] url in the configuration."""
    if context.invoked_subcommand is not None:
        return
    from tokn.services import run_standalone  # noqa: PLC0415  other commands do not load it

    raise typer.Exit(run_standalone("console", config, host=host, port=port))


def new_sign_in(asked: Any, operator: str = LOCAL) -> str:
    """The token of a new link for an operator; the one before it is worth nothing from now on. Raises as `Ledger.act`."""
    token = new_token()
    asked.act("sign_in_create", SignInCreate(VERSION, operator, digest(token)))
    return token


@console_app.command()
def login(
    operator: Annotated[
        str,
        typer.Option(metavar="ID", help="Whose link it is. Left out: the owner's.", show_default=False),
    ] = LOCAL,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs in to the console once, within 10 minutes. The link before it is worth nothing then."""
    url = _url(config, data)
    address = link(url, new_sign_in(ledger_of(config, data), operator))
    if as_json:
        show.json_lines([{"url": address, "lasts_s": SIGN_IN_S}])
        return
    sys.stdout.write(f"{address}\n")


def _url(config: Path | None, data: Path | None) -> str:
    """Where people reach the console. Raises RefusedError, SettingsError."""
    run = Folder(folder_of(data)).read_run()
    if run is not None:
        if not run.console_url:
            raise RefusedError("this tokn up runs without a console: start it again without --no-console")
        return run.console_url
    return load(config, credentials=False, books=False, pages=False).console.url
