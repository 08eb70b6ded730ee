"""Owns by whose right something is asked of a ledger, and why a right does not reach so far."""

from msgspec import Struct

from ledger.rules.identity import Identity
from schemas.admin.authority import SCOPES, allows
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows


class Grant(Struct, frozen=True, kw_only=True):
    """Who asks. `id` is the management key's or operator's, "" for whoever may read the data folder.

    `actor` is who the audit log names. An `organization` bounds it to that one; `session` and `token` are the ids of
    those by which an operator came, `identity` who a provider says he is. Whoever a provider names first has no id yet.
    """

    id: str = ""
    kind: str
    name: str
    actor: str
    scopes: tuple[str, ...]
    organization: str = ""
    role: str = ""
    session: str = ""
    token: str = ""
    identity: Identity | None = None


class GrantKind:
    """Kinds of who asks."""

    COMMAND = "cli"
    MANAGEMENT_KEY = "management_key"
    OPERATOR = "operator"
    SIGN_IN = "sign_in"


NOBODY = Grant(kind="", name="", actor="", scopes=())


def of_command(actor: str) -> Grant:
    """The right of who may read the data folder: all of it."""
    return Grant(kind=GrantKind.COMMAND, name=actor, actor=actor, scopes=SCOPES, role="owner")


def refusal(grant: Grant, scopes: tuple[str, ...] | None, *, deployment: bool) -> Rows | None:
    """Why a right does not reach; None if it does. `scopes` None is for nobody but the command.

    `deployment` says that it is about the whole deployment, not about organisations.
    """
    if grant.kind == GrantKind.COMMAND:
        return None
    if scopes is None:
        return refused(Reason.MISSING_SCOPE, "this can only be done by a command on the machine")
    for scope in scopes:
        if not allows(grant.scopes, scope):
            return refused(Reason.MISSING_SCOPE, f"this needs the scope {scope}, which you do not have")
    if deployment and grant.organization:
        why = (
            f"this is about the whole deployment, and you are bound to the organisation {grant.organization}"
        )
        return refused(Reason.ORGANIZATION_FORBIDDEN, why)
    return None


def refused(reason: Reason, why: str) -> Rows:
    """An answer that says why not."""
    return Rows(problem=why, reason=reason)
