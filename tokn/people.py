"""Owns `tokn operator` and `tokn management-key`: who may sign in to the console, and what may call its API."""

import sys
from typing import Annotated, Any

import typer

from schemas.admin import credentials, reads
from schemas.admin.authority import SCOPES, OperatorRole
from schemas.admin.management_keys import ManagementKeyCreate, ManagementKeyList, ManagementKeyRef
from schemas.admin.operators import (
    INVITE_S,
    OperatorCreate,
    OperatorList,
    OperatorRef,
    OperatorUpdate,
    SignInCreate,
)
from schemas.verbs.base import VERSION
from tokn import show
from tokn.errors import UnknownError
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of, names_of
from tokn.times import ending

ALL = "all"
operator_app = typer.Typer(
    help="Make, list, change, invite and remove operators.", no_args_is_help=True, rich_markup_mode=None
)
management_key_app = typer.Typer(
    help="Make, list and revoke keys to the admin API.", no_args_is_help=True, rich_markup_mode=None
)
_OPERATOR = ("id", "name", "email", "role", "organization", "created")
_KEY = ("id", "name", "hint", "scopes", "organization", "status", "expires_at")
OperatorId = Annotated[str, typer.Argument(metavar="OPERATOR", help="The operator's id.")]
Organization = Annotated[
    str, typer.Option(metavar="ORG", help="Only of this organisation. Left out: of all.", show_default=False)
]


@operator_app.command("create")
def operator_create(  # noqa: PLR0917  Typer calls it by name
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for people.")],
    email: Annotated[str, typer.Option(help="Whom to write to.")] = "",
    role: Annotated[OperatorRole, typer.Option(help="What the operator may.")] = OperatorRole.VIEWER,
    organization: Organization = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an operator of the console; `tokn operator invite` makes the link to sign in."""
    form = OperatorCreate(VERSION, name, email, role.value, organization)
    show.one(ledger_of(config, data).act("operator_create", form, idempotency_key), as_json, "New operator")


@operator_app.command("list")
def operator_list(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the operators, newest first."""
    rows = ledger_of(config, data).admin_pages(sys.maxsize, reads.OPERATORS, OperatorList())
    show.many(rows, as_json, _OPERATOR, title="Operators", empty="No operators yet.")


@operator_app.command("update")
def operator_update(  # noqa: PLR0917  Typer calls it by name
    operator: OperatorId,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="Whom to write to.", show_default=False)] = None,
    role: Annotated[OperatorRole | None, typer.Option(help="Another role.", show_default=False)] = None,
    organization: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="Only of this organisation. all: of all.", show_default=False),
    ] = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change an operator: what no option names stays as it is."""
    if name is None and email is None and role is None and organization is None:
        raise typer.BadParameter("name what is to change: --name, --email, --role or --organization")
    bound = "" if organization == ALL else organization
    form = OperatorUpdate(VERSION, operator, name, email, None if role is None else role.value, bound)
    show.one(ledger_of(config, data).act("operator_update", form, idempotency_key), as_json, "Operator")


@operator_app.command("remove")
def operator_remove(
    operator: OperatorId,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Remove an operator, with all sessions. The last owner stays."""
    form = OperatorRef(VERSION, operator)
    show.one(ledger_of(config, data).act("operator_remove", form, idempotency_key), as_json, "Removed")


@operator_app.command("invite")
def operator_invite(
    operator: OperatorId,
    url: Annotated[str, typer.Option(metavar="URL", help="Where the console is.")] = "http://127.0.0.1:8001",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a link by which an operator signs in, once within 24 hours. The link before it dies."""
    token = credentials.new_token()
    form = SignInCreate(VERSION, operator, credentials.digest(token), INVITE_S)
    row = _made(ledger_of(config, data), "sign_in_create", form, "make another: the first dies with it")
    link = f"{url.rstrip('/')}/login#t={token}"
    told: dict[str, Any] = {"id": row["id"], "operator": row["operator"]["id"], "link": link}
    told["expires"] = row["expires_at"]
    show.one(told, as_json, "Once, within 24 hours")


def _made(ledger: Any, name: str, form: Any, lost: str) -> dict[str, Any]:
    """What an act has made whose secret is here alone, so that repeating it would make another. Raises UnknownError."""
    try:
        return dict(ledger.act(name, form))
    except UnknownError:
        raise UnknownError(f"not known whether it was made: {lost}") from None


def _scopes(text: str) -> tuple[str, ...]:
    names = SCOPES if text == ALL else names_of(text)
    unknown = [one for one in names if one not in SCOPES]
    if unknown or not names:
        raise typer.BadParameter(f"choose from {', '.join(SCOPES)}, or all", param_hint="--scopes")
    return names


@management_key_app.command("create")
def management_key_create(  # noqa: PLR0917  Typer calls it by name
    scopes: Annotated[
        str, typer.Option(metavar="A,B", help="Like keys:write,usage:read; write includes read. all: all.")
    ],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    organization: Organization = "",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="WHEN", help="Its end: 90d, 2026-12-31, or never.", show_default=False
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key to the admin API. It is shown once."""
    secret = credentials.new_management_key()
    at_ms, in_s = ending(expires, "--expires") if expires is not None else (0, 0)
    form = ManagementKeyCreate(
        VERSION,
        credentials.digest(secret),
        credentials.hint(secret),
        name,
        _scopes(scopes),
        organization,
        at_ms,
        in_s,
    )
    lost = "look with tokn management-key list, and revoke what is there: nobody has its secret"
    row = _made(ledger_of(config, data), "management_key_create", form, lost)
    show.one({"id": row["id"], "key": secret, **row}, as_json, "New management key: it is shown this once")


@management_key_app.command("list")
def management_key_list(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the management keys, newest first."""
    rows = ledger_of(config, data).admin_pages(sys.maxsize, reads.MANAGEMENT_KEYS, ManagementKeyList())
    show.many(rows, as_json, _KEY, title="Management keys", empty="No management keys yet.")


@management_key_app.command("revoke")
def management_key_revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The management key's id.")],
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a management key, for good."""
    form = ManagementKeyRef(VERSION, key)
    show.one(ledger_of(config, data).act("management_key_revoke", form, idempotency_key), as_json, "Revoked")
