"""Owns who may do what: scopes, the roles of operators, and what each role may."""

from collections.abc import Iterable
from enum import StrEnum

AREAS = (
    "keys",
    "money",
    "usage",
    "catalogue",
    "pools",
    "webhooks",
    "audit",
    "settings",
    "operators",
)
READ = "read"
WRITE = "write"
SCOPES = tuple(f"{area}:{verb}" for area in AREAS for verb in (READ, WRITE))


class OperatorRole(StrEnum):
    """What an operator may, in one word."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    SUPPORT = "support"
    VIEWER = "viewer"


ROLES: dict[OperatorRole, tuple[str, ...]] = {
    OperatorRole.OWNER: SCOPES,
    OperatorRole.ADMIN: tuple(one for one in SCOPES if one != "operators:write"),
    OperatorRole.BILLING: ("money:write", "usage:read", "keys:read"),
    OperatorRole.SUPPORT: ("keys:write", "usage:read", "money:read"),
    OperatorRole.VIEWER: tuple(f"{area}:{READ}" for area in AREAS if area != "audit"),
}


def allows(scopes: Iterable[str], needed: str) -> bool:
    """Whether scopes have the one that is needed; write includes read. "" needs none."""
    if not needed:
        return True
    held = set(scopes)
    area, _, verb = needed.partition(":")
    return needed in held or (verb == READ and f"{area}:{WRITE}" in held)


def covers(scopes: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether whoever has some scopes may give away others: nobody gives more than he has."""
    held = tuple(scopes)
    return all(allows(held, one) for one in wanted)
