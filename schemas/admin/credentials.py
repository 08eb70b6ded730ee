"""Owns by what a ledger knows who asks it through a console: a management key, a session, a link to sign in, an ID token.

Only SHA-256 digests of secrets leave the console; a ledger keeps a keyed hash of that.
"""

import hashlib
import secrets

from msgspec import Struct

from schemas import keys

MANAGEMENT_PREFIX = "tokn_admin_"  # no caller's key begins so: behind `tokn_` they have no underscore
TOKEN_BYTES = 32
HINT_CHARS = 4


class ManagementKey(Struct, frozen=True, array_like=True, tag="management_key"):
    """A management key, by its SHA-256."""

    digest: bytes


class Session(Struct, frozen=True, array_like=True, tag="session"):
    """An operator who is signed in, by the SHA-256 of the session's secret."""

    digest: bytes


class SignInToken(Struct, frozen=True, array_like=True, tag="sign_in"):
    """A link to sign in, by the SHA-256 of its token. It is good for the act `sign_in`, once."""

    digest: bytes


class IdToken(Struct, frozen=True, array_like=True, tag="id_token"):
    """An ID token of the deployment's OpenID provider, as it came. It is good for the act `sign_in_oidc`, once.

    `binding` is what its nonce was asked for with.
    """

    token: str
    binding: bytes

    @property
    def digest(self) -> bytes:
        """What stands for it where a secret's digest does."""
        return digest(self.token)


Credential = ManagementKey | Session | SignInToken | IdToken


def new_management_key() -> str:
    """A fresh management key: `tokn_admin_`, 32 characters of base62, and 6 that check them."""
    return keys.generate(MANAGEMENT_PREFIX)


def is_management_key(text: str) -> bool:
    """Whether a text can be a management key: anything else is refused without asking a ledger."""
    return keys.is_well_formed(text, MANAGEMENT_PREFIX)


def new_token() -> str:
    """A fresh secret of a session or of a link to sign in: 256 bits, fit for a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(secret: str) -> bytes:
    """What leaves the console or the command instead of a secret: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def hint(secret: str) -> str:
    """What people know a secret by."""
    return secret[-HINT_CHARS:]
