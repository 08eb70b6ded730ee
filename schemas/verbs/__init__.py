"""The ledger's verbs: what is asked, who may ask, and what is answered."""

from typing import Any

from schemas.verbs.acts import ACT, AUDIT_LOG
from schemas.verbs.audit import AUDIT
from schemas.verbs.base import Verb
from schemas.verbs.calls import AUTHORISE, ESTIMATE, REATTEMPT, RELEASE, RENEW
from schemas.verbs.caps import CAP_CREATE, CAP_END, CAP_LIST, CAP_UPDATE
from schemas.verbs.catalogue import CATALOGUE
from schemas.verbs.exports import EXPORT
from schemas.verbs.hooks import HOOK_DISABLE, HOOK_LOG, HOOKS
from schemas.verbs.keys import (
    BALANCE,
    CREDIT,
    KEY,
    KEY_CREATE,
    KEY_FIND,
    KEY_LIST,
    KEY_REVOKE,
    KEY_ROTATE,
    KEY_SHOW,
    KEY_UNHASHED,
    KEY_UPDATE,
)
from schemas.verbs.limits import LIMITS_SET
from schemas.verbs.models import MODELS, MODELS_EXPLAIN
from schemas.verbs.money import CREDITS
from schemas.verbs.organizations import ORG_CREATE, ORG_LIST, ORG_SHOW, ORG_UPDATE
from schemas.verbs.parked import PARKED
from schemas.verbs.ping import PING
from schemas.verbs.pools import INVENTORY, POOLS
from schemas.verbs.self import SELF
from schemas.verbs.statements import STATEMENT, STATEMENT_ISSUE, STATEMENTS
from schemas.verbs.sums import SUMS
from schemas.verbs.surprises import SURPRISES, SURPRISES_FORGET
from schemas.verbs.topups import STRIPE_EVENT, TOPUP
from schemas.verbs.usage import GENERATION, USAGE
from schemas.verbs.webhooks import DELIVERIES, EVENTS, WEBHOOKS

VERBS: tuple[Verb[Any, Any], ...] = (
    PING,
    KEY,
    CATALOGUE,
    AUTHORISE,
    REATTEMPT,
    RENEW,
    RELEASE,
    ESTIMATE,
    GENERATION,
    SELF,
    INVENTORY,
    KEY_CREATE,
    KEY_LIST,
    KEY_SHOW,
    KEY_UNHASHED,
    KEY_FIND,
    KEY_UPDATE,
    KEY_ROTATE,
    KEY_REVOKE,
    ORG_CREATE,
    ORG_LIST,
    ORG_SHOW,
    ORG_UPDATE,
    CREDIT,
    LIMITS_SET,
    BALANCE,
    CAP_CREATE,
    CAP_UPDATE,
    CAP_END,
    CAP_LIST,
    USAGE,
    SUMS,
    POOLS,
    MODELS,
    MODELS_EXPLAIN,
    SURPRISES,
    SURPRISES_FORGET,
    AUDIT,
    ACT,
    AUDIT_LOG,
    CREDITS,
    PARKED,
    WEBHOOKS,
    DELIVERIES,
    EVENTS,
    HOOKS,
    HOOK_LOG,
    HOOK_DISABLE,
    STATEMENT,
    STATEMENTS,
    STATEMENT_ISSUE,
    EXPORT,
    TOPUP,
    STRIPE_EVENT,
)
