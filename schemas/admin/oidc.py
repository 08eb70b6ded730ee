"""Owns how a console begins a sign-in by an OpenID provider: with a nonce that a ledger gives.

It ends with the act `sign_in_oidc`, whose credential is the ID token and whose form is `SignIn`.
"""

import hashlib
import hmac

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb


class OidcBegin(Struct, frozen=True, array_like=True):
    """Asks for the nonce of one sign-in, which is good once, and only together with this `binding`: 32 bytes."""

    v: int
    binding: bytes


OIDC_BEGIN: Verb[OidcBegin, Rows] = Verb(name="oidc_begin", form=OidcBegin, reply=Rows, roles=(Role.CONSOLE,))


def derived(secret: str, purpose: str) -> bytes:
    """What follows from a browser's secret for one purpose, 32 bytes: none of them tells another, or the secret."""
    return hmac.new(secret.encode(), f"tokn sign-in {purpose}".encode(), hashlib.sha256).digest()
