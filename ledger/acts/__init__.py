"""The acts: what operators do to the books, each with its entry in the audit log."""

from typing import Any

from ledger.acts.base import Act
from ledger.acts.caps import CAP_CREATE, CAP_END, CAP_UPDATE
from ledger.acts.exports import EXPORT
from ledger.acts.grants import DEPOSIT, GIFT, PROMOTIONAL
from ledger.acts.keys import CREDIT, KEY_CREATE, KEY_REVOKE, KEY_ROTATE, KEY_UPDATE
from ledger.acts.limits import LIMITS_SET
from ledger.acts.management_keys import (
    MANAGEMENT_KEY_CREATE,
    MANAGEMENT_KEY_REVOKE,
    MANAGEMENT_KEY_UPDATE,
)
from ledger.acts.move import MOVE
from ledger.acts.operators import OPERATOR_CREATE, OPERATOR_REMOVE, OPERATOR_UPDATE
from ledger.acts.organizations import ORG_CREATE, ORG_UPDATE
from ledger.acts.parked import PARKED_BILL, PARKED_DISMISS
from ledger.acts.refund import REFUND
from ledger.acts.sessions import SESSION_END, SIGN_IN, SIGN_IN_CREATE
from ledger.acts.settings import SETTINGS_RELOAD
from ledger.acts.sign_in_oidc import SIGN_IN_OIDC
from ledger.acts.surprises import SURPRISES_FORGET
from ledger.acts.takings import ADJUSTMENT, DEPOSIT_RETURN
from ledger.acts.upstream_deposit import UPSTREAM_DEPOSIT
from ledger.acts.webhooks import (
    WEBHOOK_CREATE,
    WEBHOOK_DELETE,
    WEBHOOK_REPLAY,
    WEBHOOK_ROTATE,
    WEBHOOK_TEST,
    WEBHOOK_UPDATE,
)
from ledger.acts.write_off import WRITE_OFF

ACTS: tuple[Act[Any], ...] = (
    KEY_CREATE,
    KEY_UPDATE,
    KEY_ROTATE,
    KEY_REVOKE,
    ORG_CREATE,
    ORG_UPDATE,
    LIMITS_SET,
    CAP_CREATE,
    CAP_UPDATE,
    CAP_END,
    CREDIT,
    DEPOSIT,
    PROMOTIONAL,
    GIFT,
    ADJUSTMENT,
    DEPOSIT_RETURN,
    REFUND,
    MOVE,
    WRITE_OFF,
    UPSTREAM_DEPOSIT,
    EXPORT,
    SURPRISES_FORGET,
    PARKED_BILL,
    PARKED_DISMISS,
    WEBHOOK_CREATE,
    WEBHOOK_UPDATE,
    WEBHOOK_DELETE,
    WEBHOOK_ROTATE,
    WEBHOOK_TEST,
    WEBHOOK_REPLAY,
    OPERATOR_CREATE,
    OPERATOR_UPDATE,
    OPERATOR_REMOVE,
    MANAGEMENT_KEY_CREATE,
    MANAGEMENT_KEY_UPDATE,
    MANAGEMENT_KEY_REVOKE,
    SIGN_IN_CREATE,
    SIGN_IN,
    SIGN_IN_OIDC,
    SESSION_END,
    SETTINGS_RELOAD,
)
