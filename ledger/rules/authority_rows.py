"""Owns the rows of who may act through a console: management keys, operators, their sessions, and links to sign in.

Every `digest` is a keyed hash (hex) of a secret's SHA-256. An `organization` of "" is for all of them.
"""

from typing import Any, ClassVar

from ledger.rules.rows import Row
from ledger.rules.rowset import RowSet


class Standing:
    """What a management key or an operator is. Neither is ever deleted: the audit log names it."""

    ACTIVE = "active"
    REVOKED = "revoked"
    REMOVED = "removed"


class ManagementKey(Row, kw_only=True):
    """A key to the admin API. `scopes` is JSON; `expires_ms` 0 is for never."""

    TABLE: ClassVar[str] = "management_keys"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("name", "scopes", "status", "revoked_ms", "version")

    id: str
    digest: str
    hint: str
    name: str
    scopes: str
    organization: str
    status: str
    created_ms: int
    expires_ms: int
    revoked_ms: int
    version: int = 1


class Operator(Row, kw_only=True):
    """A person who may sign in to the console.

    Whoever came by an OpenID provider is known by its `issuer` and his `subject` there; both are "" for others.
    """

    TABLE: ClassVar[str] = "operators"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "name",
        "email",
        "role",
        "organization",
        "status",
        "removed_ms",
        "version",
    )

    id: str
    name: str
    email: str
    role: str
    organization: str
    status: str
    created_ms: int
    removed_ms: int
    version: int = 1
    issuer: str = ""
    subject: str = ""


class Session(Row, kw_only=True):
    """An operator who is signed in, until `expires_ms` at most. `seen_ms` is when it was last used, by some minutes."""

    TABLE: ClassVar[str] = "sessions"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("ended_ms",)

    id: str
    digest: str
    operator: str
    ip: str
    user_agent: str
    created_ms: int
    seen_ms: int
    expires_ms: int
    ended_ms: int


class SignInToken(Row, kw_only=True):
    """A link to sign in, good once. `ended_ms` is when it was used, or another took its place."""

    TABLE: ClassVar[str] = "sign_in_tokens"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("ended_ms",)

    id: str
    digest: str
    operator: str
    created_ms: int
    expires_ms: int
    ended_ms: int


class Nonce(Row, kw_only=True):
    """The nonce of a sign-in by a provider that was used. Once it would be refused by its age, it goes."""

    TABLE: ClassVar[str] = "sign_in_nonces"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ()

    id: str
    ends_ms: int


class OperatorRows:
    """Who may act through a console."""

    __slots__ = ("failed", "keys", "nonces", "operators", "sessions", "tokens")

    def __init__(self) -> None:
        self.operators = RowSet(Operator)
        self.keys = RowSet(ManagementKey)
        self.sessions = RowSet(Session)
        self.tokens = RowSet(SignInToken)
        self.nonces = RowSet(Nonce)
        # Of a try without a right: those before it, by address and time.
        self.failed: list[tuple[str, int]] = []

    def all(self) -> tuple[RowSet[Any], ...]:
        """Each kind's rows."""
        return self.operators, self.keys, self.sessions, self.tokens, self.nonces
