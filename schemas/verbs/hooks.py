"""Owns what the dispatcher of webhooks asks a ledger: which endpoints there are, and to note what it has delivered."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb

LOGGED_MAX = 64  # deliveries of one request
RESPONSE_CHARS_MAX = 1_024
PAGE_ENDPOINTS = 100


class Outcome:
    """What became of one attempt. Plain strings, because rows store them as they are."""

    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    FAILED = "failed"  # it is not tried again


class HooksQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of the endpoints that are enabled, after one. Nothing comes back if `known` is still the version."""

    v: int = VERSION
    known: int = -1
    after: str = ""


class Hook(Struct, frozen=True, array_like=True):
    """An endpoint with what signs for it: the newest secret first, and during a rotation the one before.

    An empty organisation gets the events of all. What happened before `since_ms` is not for it, unless it is sent to it
    alone. `version` changes with any of it.
    """

    id: str
    url: str
    organization: str
    secrets: tuple[str, ...]
    since_ms: int
    version: int


class HooksReply(Struct, frozen=True, array_like=True):
    """Endpoints by id. `version` changes when one of them does; `cursor` is the next page's `after`, "" at the end."""

    version: int
    hooks: tuple[Hook, ...] = ()
    cursor: str = ""


class Attempt(Struct, frozen=True, array_like=True):
    """One attempt to deliver an event. `code` is the HTTP status, 0 without an answer. `retry_ms` is 0 for no more."""

    id: str
    endpoint: str
    event: str
    type: str
    attempt: int
    outcome: str
    code: int
    ms: int
    response: str
    error: str
    retry_ms: int


class HookLog(Struct, frozen=True, array_like=True):
    """Notes attempts, LOGGED_MAX at most; one that is noted already stays. Answers with each endpoint and whether it is `overdue`.

    An endpoint is overdue when all that was sent to it has failed for five days.
    """

    v: int
    attempts: tuple[Attempt, ...]


class HookDisable(Struct, frozen=True, array_like=True):
    """Disables an endpoint that says it is gone, or is overdue."""

    v: int
    id: str
    reason: str


HOOKS: Verb[HooksQuery, HooksReply] = Verb(
    name="hooks", form=HooksQuery, reply=HooksReply, roles=(Role.CONSOLE,)
)
HOOK_LOG: Verb[HookLog, Rows] = Verb(
    name="hook_log", form=HookLog, reply=Rows, roles=(Role.CONSOLE,), writes=True
)
HOOK_DISABLE: Verb[HookDisable, Rows] = Verb(
    name="hook_disable", form=HookDisable, reply=Rows, roles=(Role.CONSOLE,), writes=True
)
