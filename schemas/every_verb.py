"""Owns the tuple of every verb of a ledger: those of services and commands, and those by which a console asks."""

from typing import Any

from schemas.admin.oidc import OIDC_BEGIN
from schemas.admin.verbs import ADMIN_READ, CONSOLE_ISSUE, CONSOLE_READ, CONSOLE_TOPUP, CONSOLE_WRITE
from schemas.verbs import VERBS
from schemas.verbs.base import Verb

EVERY_VERB: tuple[Verb[Any, Any], ...] = (
    *VERBS,
    ADMIN_READ,
    CONSOLE_READ,
    CONSOLE_WRITE,
    OIDC_BEGIN,
    CONSOLE_ISSUE,
    CONSOLE_TOPUP,
)
