"""Owns the commands that change a key while it lives: update, rotate, pause, resume."""

from typing import Annotated

import typer

from schemas import keys
from schemas.catalogue import allowed
from schemas.verbs.base import VERSION
from schemas.verbs.keys import KEY_UNHASHED, KeyRotate, KeysUnhashed, KeyUpdate
from tokn import show
from tokn.errors import UnknownError
from tokn.named import KEY_HELP, key_id, secret_of
from tokn.options import (
    AsJson,
    Config,
    Data,
    IdempotencyKey,
    LowBalance,
    ledger_of,
    low_nano,
    names_of,
    providers_of,
)
from tokn.times import ending, length_ms

ALL = "all"
HINT_CHARS = 4
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help=KEY_HELP)]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="Its end: 90d, 2026-12-31, or never.", show_default=False),
]
Models = Annotated[
    str | None,
    typer.Option(
        "--models",
        metavar="A,B*",
        help="Only these models; with a * all that begin so. all: all.",
        show_default=False,
    ),
]


def models_of(text: str | None) -> tuple[str, ...] | None:
    """A list of models as it was written; none for all, None where there is no word of it."""
    if text is None:
        return None
    if text == ALL:
        return ()
    names = names_of(text)
    why = allowed.problem(names) or ("" if names else "name a model, or all")
    if why:
        raise typer.BadParameter(why, param_hint="--models")
    return names


def update(  # noqa: PLR0917  Typer calls it by name
    key: KeyArgument,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    providers: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these providers. all: all.", show_default=False),
    ] = None,
    models: Models = None,
    expires: Expires = None,
    low_balance: LowBalance = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change a key: what no option names stays as it is."""
    asked = ledger_of(config, data)
    if all(one is None for one in (name, providers, models, expires, low_balance)):
        named = "--name, --providers, --models, --expires or --low-balance"
        raise typer.BadParameter(f"name what is to change: {named}")
    expires_ms, expires_in_s = (None, 0) if expires is None else ending(expires, "--expires")
    request = KeyUpdate(
        VERSION,
        key_id(asked, key),
        name=name,
        providers=() if providers == ALL else providers_of(providers),
        models=models_of(models),
        expires_ms=expires_ms,
        expires_in_s=expires_in_s,
        low_balance_nano=low_nano(low_balance),
    )
    show.one(asked.act("key_update", request, idempotency_key), as_json, "Key")


def rotate(  # noqa: PLR0917  Typer calls it by name
    key: KeyArgument,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret still works; 0 for not at all.")
    ] = "24h",
    secret: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The new secret, to repeat a rotation; - reads it from standard input.",
        ),
    ] = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it. It is shown only now; the old one works until the overlap ends."""
    asked = ledger_of(config, data)
    fresh = secret_of(secret) if secret else keys.generate()
    overlap_ms = length_ms(overlap, "--overlap")
    request = KeyRotate(VERSION, key_id(asked, key), keys.digest(fresh), fresh[-HINT_CHARS:], overlap_ms)
    try:
        row = asked.act("key_rotate", request, idempotency_key)
    except UnknownError as error:
        raise UnknownError(f"{error} --key - and the new key on standard input: {fresh}") from None
    show.one({"id": row.pop("id"), "key": fresh, **row}, as_json, "New secret (shown only now)")


def pause(
    key: KeyArgument,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Pause a key: its new calls are refused until it is resumed; it may still read its receipts."""
    asked = ledger_of(config, data)
    request = KeyUpdate(VERSION, key_id(asked, key), status="paused")
    show.one(asked.act("key_update", request, idempotency_key), as_json, "Paused")


def resume(
    key: KeyArgument,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Resume a paused key."""
    asked = ledger_of(config, data)
    request = KeyUpdate(VERSION, key_id(asked, key), status="active")
    show.one(asked.act("key_update", request, idempotency_key), as_json, "Resumed")


def unhashed(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Count live keys that are still hashed with a pepper of before.

    Each is hashed anew when it is next used. Those that are refused have a pepper that is no longer configured.
    """
    (row,) = ledger_of(config, data).ask(KEY_UNHASHED, KeysUnhashed(VERSION)).rows
    show.one(row, as_json, "Keys hashed with a pepper of before")


COMMANDS = (update, rotate, pause, resume, unhashed)
