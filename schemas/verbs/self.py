"""Owns what the holder of a key may ask about it: the key, its money, and what it has used. Amounts are nano-dollars."""

from typing import Any

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Verb


class KeyAsk(Struct, frozen=True, array_like=True, tag="key"):
    """The key itself, what it has used today, this week, this month and in all (UTC), and its tightest cap."""


class CreditsAsk(Struct, frozen=True, array_like=True, tag="credits"):
    """What the account that it draws on ever had, and what was spent of it."""


class ActivityAsk(Struct, frozen=True, array_like=True, tag="activity"):
    """Use by day, model and provider: of one day since 1970, or of the last whole days (UTC) before today."""

    day: int = 0


class CallsAsk(Struct, frozen=True, array_like=True, tag="calls"):
    """Ended calls, newest first, after one of them. Times are unix seconds; 0 and "" ask for no bound."""

    limit: int
    after: str = ""
    created_gte_s: int = 0
    created_lt_s: int = 0
    model: str = ""


Ask = KeyAsk | CreditsAsk | ActivityAsk | CallsAsk


class SelfQuery(Struct, frozen=True, array_like=True):
    """One question of a key's holder; `digest` is the SHA-256 of the whole key."""

    v: int
    digest: bytes
    ask: Ask


class SelfReply(Struct, frozen=True, array_like=True):
    """The answer's rows as JSON objects. `active` is False for a key that may read nothing: unknown, revoked or expired.

    `problem` says what cannot be asked; `more` that calls follow the last one that was looked at, `next`.
    """

    active: bool
    rows: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    more: bool = False
    next: str = ""
    expired_ms: int = 0  # when a key that is not active ended, 0 if it was no time that ended it


SELF: Verb[SelfQuery, SelfReply] = Verb(name="self", form=SelfQuery, reply=SelfReply, roles=(Role.EDGE,))
