"""Owns by what a right is shown: what a console passes on, or who an OpenID provider says has signed in."""

from msgspec import Struct

from schemas.admin.credentials import Credential
from schemas.verbs.base import Rows


class Identity(Struct, frozen=True, kw_only=True):
    """Somebody whom a provider has just authenticated, by an ID token that this ledger has verified.

    `nonce` stands for the one that the token has; `nonce_ends_ms` is from when on it is refused by its age.
    """

    issuer: str
    subject: str
    name: str
    email: str
    role: str
    organization: str
    nonce: str
    nonce_ends_ms: int


class Unproven(Struct, frozen=True):
    """An ID token that proves nothing, and why."""

    refusal: Rows


Proof = (
    Credential | Identity | Unproven
)  # by what a right is shown; no console can send the two that a ledger makes
