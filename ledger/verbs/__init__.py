"""What a ledger does for each verb, and the requests that come in."""

from ledger.verbs.acts import ACT, AUDIT_LOG, CONSOLE_WRITE
from ledger.verbs.admin import ADMIN_READ, CONSOLE_READ
from ledger.verbs.admin.statements import CONSOLE_ISSUE
from ledger.verbs.audit import AUDIT
from ledger.verbs.base import Answer
from ledger.verbs.calls import AUTHORISE, ESTIMATE, REATTEMPT, RELEASE, RENEW
from ledger.verbs.caps import CAP_CREATE, CAP_END, CAP_LIST, CAP_UPDATE
from ledger.verbs.catalogue import CATALOGUE
from ledger.verbs.exports import EXPORT
from ledger.verbs.hooks import HOOK_DISABLE, HOOK_LOG, HOOKS
from ledger.verbs.keys import (
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
from ledger.verbs.limits import LIMITS_SET
from ledger.verbs.models import MODELS, MODELS_EXPLAIN
from ledger.verbs.money import CREDITS
from ledger.verbs.oidc import OIDC_BEGIN
from ledger.verbs.organizations import ORG_CREATE, ORG_LIST, ORG_SHOW, ORG_UPDATE
from ledger.verbs.own import SELF
from ledger.verbs.parked import PARKED
from ledger.verbs.ping import PING
from ledger.verbs.pools import INVENTORY, POOLS
from ledger.verbs.statements import STATEMENT, STATEMENT_ISSUE, STATEMENTS
from ledger.verbs.sums import SUMS
from ledger.verbs.surprises import SURPRISES, SURPRISES_FORGET
from ledger.verbs.topups import CONSOLE_TOPUP, STRIPE_EVENT, TOPUP
from ledger.verbs.usage import GENERATION, USAGE
from ledger.verbs.webhooks import DELIVERIES, EVENTS, WEBHOOKS

ANSWERS: tuple[Answer, ...] = (
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
    ADMIN_READ,
    CONSOLE_READ,
    CONSOLE_WRITE,
    OIDC_BEGIN,
    CONSOLE_ISSUE,
    CONSOLE_TOPUP,
)
