"""Owns what a provider's claims make of somebody: a role, an organisation, and a name to show."""

from collections.abc import Mapping
from typing import Any, Final

from ledger.rules.grants import refused
from ledger.rules.identity import Identity
from ledger.rules.keys import NAME_CHARS_MAX
from runtime.settings.oidc import OidcSettings
from schemas.admin.authority import OperatorRole
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

EVERYWHERE: Final = "*"  # in the claim of an organisation: the whole deployment


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the names that lead to it, with points between; None without one."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def role_of(claims: Mapping[str, Any], settings: OidcSettings) -> str:
    """The role that a claim gives: of several the first in the order of OperatorRole; empty without any."""
    said = claim(claims, settings.roles_claim)
    told = (said,) if isinstance(said, str) else said if isinstance(said, list) else ()
    return next((role.value for role in OperatorRole if role.value in told), "")


def organization_of(claims: Mapping[str, Any], settings: OidcSettings) -> str | None:
    """The organisation that a claim gives, "" for all of them; None if it gives none though one has to."""
    if not settings.organization_claim:
        return ""
    said = claim(claims, settings.organization_claim)
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, str) or not said or len(said) > NAME_CHARS_MAX or "\x00" in said:
        return None
    return "" if said == EVERYWHERE else said


def identity_of(
    claims: Mapping[str, Any], settings: OidcSettings, *, nonce: str, nonce_ends_ms: int
) -> Identity | Rows:
    """Who the claims of a verified token are about; the refusal if they give him no right here."""
    role, organization = role_of(claims, settings), organization_of(claims, settings)
    if not role:
        why = (
            f"your provider gives you no role here: its claim {settings.roles_claim} has none of tokn's roles"
        )
        return refused(Reason.SIGN_IN_REFUSED, why)
    if organization is None:
        why = f"your provider says no organisation of yours: its claim {settings.organization_claim} has none"
        return refused(Reason.SIGN_IN_REFUSED, why)
    email = _text(claims.get("email")) if claims.get("email_verified") is True else ""
    name = next(filter(None, (_text(claims.get(one)) for one in ("name", "preferred_username"))), "")
    return Identity(
        issuer=settings.issuer,
        subject=claims["sub"],
        name=name or email or claims["sub"][:NAME_CHARS_MAX],
        email=email,
        role=role,
        organization=organization,
        nonce=nonce,
        nonce_ends_ms=nonce_ends_ms,
    )


def _text(value: object) -> str:
    """A claim as a name can stand."""
    return value.replace("\x00", "").strip()[:NAME_CHARS_MAX] if isinstance(value, str) else ""
