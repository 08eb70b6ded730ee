"""Owns how operators, management keys and sessions are shown, and what bounds their fields."""

from typing import Any

import msgspec

from ledger.rules.authority_rows import ManagementKey, Operator, Session, Standing
from ledger.rules.book import Book
from ledger.rules.keys import name_problem, seconds
from ledger.rules.missing import missing
from schemas.admin.authority import SCOPES, OperatorRole
from schemas.verbs.base import Rows

_scopes = msgspec.json.Decoder(tuple[str, ...]).decode


def operator_row(one: Operator) -> dict[str, Any]:
    """An operator as commands and the console show it."""
    return {
        "id": one.id,
        "name": one.name,
        "email": one.email,
        "role": one.role,
        "organization": one.organization or None,
        "issuer": one.issuer or None,
        "status": one.status,
        "created": one.created_ms // 1000,
        "removed_at": seconds(one.removed_ms),
        "version": one.version,
    }


def management_key_row(one: ManagementKey, now_ms: int) -> dict[str, Any]:
    """A management key as commands and the console show it: never itself."""
    over = 0 < one.expires_ms <= now_ms and one.status == Standing.ACTIVE
    return {
        "id": one.id,
        "name": one.name,
        "hint": one.hint,
        "scopes": list(_scopes(one.scopes)),
        "organization": one.organization or None,
        "status": "expired" if over else one.status,
        "created": one.created_ms // 1000,
        "expires_at": seconds(one.expires_ms),
        "revoked_at": seconds(one.revoked_ms),
        "version": one.version,
    }


def session_row(one: Session, current: str = "") -> dict[str, Any]:
    """A session as the console shows it. `current` is the id of the asker's own."""
    return {
        "id": one.id,
        "operator": one.operator,
        "ip": one.ip,
        "user_agent": one.user_agent,
        "current": one.id == current,
        "created": one.created_ms // 1000,
        "last_seen_at": one.seen_ms // 1000,
        "expires_at": one.expires_ms // 1000,
        "ended_at": seconds(one.ended_ms),
    }


def role_problem(role: str) -> str:
    """Why an operator cannot have a role; empty if he can."""
    return "" if role in set(OperatorRole) else f"a role is one of {', '.join(OperatorRole)}"


def scopes_problem(scopes: tuple[str, ...]) -> str:
    """Why a management key cannot have scopes; empty if it can."""
    unknown = [one for one in scopes if one not in SCOPES]
    if unknown:
        return f"{unknown[0][:64]!r} is no scope: they are {', '.join(SCOPES)}"
    return "" if scopes else "name at least one scope"


def texts_problem(*texts: str) -> str:
    """Why names and addresses cannot stand; empty if they can."""
    return name_problem(*texts)


def organization_missing(book: Book, organization: str) -> Rows | None:
    """The answer where something is to be bound to an organisation that is not there."""
    if organization and organization not in book.profiles:
        return missing(f"organisation {organization}")
    return None
