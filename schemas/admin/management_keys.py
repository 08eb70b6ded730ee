"""Owns the forms of acts on management keys: to make and revoke one, and how they are listed."""

from msgspec import Struct

from schemas.verbs.base import VERSION


class ManagementKeyCreate(Struct, frozen=True, array_like=True):
    """The act `management_key_create`: a key by its SHA-256 and its last four characters, the `hint`.

    `scopes` are of `schemas.admin.authority.SCOPES`, and nobody gives more than he has. `organization` is "" for all of
    them, `expires_ms` and `expires_in_s` 0 for never.
    """

    v: int
    digest: bytes
    hint: str
    name: str
    scopes: tuple[str, ...]
    organization: str = ""
    expires_ms: int = 0
    expires_in_s: int = 0


class ManagementKeyUpdate(Struct, frozen=True, array_like=True):
    """The act `management_key_update`: what is None stays."""

    v: int
    id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None


class ManagementKeyRef(Struct, frozen=True, array_like=True):
    """Names a management key. The act `management_key_revoke` ends it for good."""

    v: int
    id: str


class ManagementKeyList(Struct, frozen=True, array_like=True):
    """Asks for a page of management keys, newest first, after one."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
