"""Owns what can be read through a console: every question, once, with its scope.

Lists are newest first, `limit` rows after the row of the id `after`; `Rows.cursor` is the next page's `after`, "" at the
end. An `organization` of "" is for all that the credential may see. Amounts are nano-dollars, times unix seconds.
"""

from typing import Any

from msgspec import Struct

from schemas.admin.management_keys import ManagementKeyList, ManagementKeyRef
from schemas.admin.operators import OperatorList, OperatorRef
from schemas.admin.sessions import SessionList, SessionRef
from schemas.admin.settings import SettingsCheck, SettingsQuery, SettingsReloaded
from schemas.admin.verbs import Question
from schemas.admin.webhooks import DeliveryList, EndpointList, EventList, EventRef
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import VERSION
from schemas.verbs.exports import ExportQuery
from schemas.verbs.keys import KeyRef
from schemas.verbs.models import ModelRef, ModelsQuery
from schemas.verbs.organizations import OrganizationRef
from schemas.verbs.parked import ParkedQuery
from schemas.verbs.pools import PoolsQuery
from schemas.verbs.statements import LINES_MAX
from schemas.verbs.sums import SumsQuery
from schemas.verbs.topups import TopupRef
from schemas.verbs.webhooks import WebhookRef

PAGE_MAX = 200


class Me(Struct, frozen=True, array_like=True):
    """Who asks: the credential's id, kind, operator or name, scopes and organisation."""

    v: int = VERSION


class OrganizationsQuery(Struct, frozen=True, array_like=True):
    """Asks for organisations; `name` is a part of the id or name."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    status: str = ""
    name: str = ""


class KeysQuery(Struct, frozen=True, array_like=True):
    """Asks for keys; `name` is a part of the name. With a `digest` it asks for the one that a secret opens."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    organization: str = ""
    status: str = ""
    name: str = ""
    digest: bytes = b""


class CapsQuery(Struct, frozen=True, array_like=True):
    """Asks for caps in force, of a key, of an organisation itself, or all."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    key: str = ""
    organization: str = ""


class CapRef(Struct, frozen=True, array_like=True):
    """Names a cap."""

    v: int
    id: str


class CreditsQuery(Struct, frozen=True, array_like=True):
    """Asks for credits: of a key's balance, or of all balances of an organisation."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    key: str = ""
    organization: str = ""
    kind: str = ""


class CreditRef(Struct, frozen=True, array_like=True):
    """Names a credit."""

    v: int
    id: str


class TopupsQuery(Struct, frozen=True, array_like=True):
    """Asks for top-ups, of an organisation or of all."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    organization: str = ""


class CallsQuery(Struct, frozen=True, array_like=True):
    """Asks for ended calls. A page may have fewer than `limit` and still a cursor: where few of many calls are meant."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    key: str = ""
    organization: str = ""
    model: str = ""
    pool: str = ""
    outcome: str = ""
    known: str = ""
    created_gte_s: int = 0
    created_lt_s: int = 0


class CallRef(Struct, frozen=True, array_like=True):
    """Names a call: its receipt, also of one that still runs. `operator` adds accounts and our cost of each try."""

    v: int
    id: str


class StatementsQuery(Struct, frozen=True, array_like=True):
    """Asks for statements without their lines. Of one organisation the last months that are not issued are there as drafts."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    organization: str = ""


class StatementRef(Struct, frozen=True, array_like=True):
    """Names a statement, with up to `limit` of its lines from place `after_line` on; the cursor is the next page's, 0 at the end."""

    v: int
    id: str
    after_line: int = 0
    limit: int = LINES_MAX


class PoolRef(Struct, frozen=True, array_like=True):
    """Names a pool."""

    v: int
    name: str


class AuditEntriesQuery(Struct, frozen=True, array_like=True):
    """Asks for entries of the audit log."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    actor: str = ""
    action: str = ""
    target: str = ""
    from_s: int = 0
    to_s: int = 0


ME = Question(name="me", form=Me, scope="")
ORGANIZATIONS = Question(name="organizations", form=OrganizationsQuery, scope="keys:read")
ORGANIZATION = Question(name="organization", form=OrganizationRef, scope="keys:read")
KEYS = Question(name="keys", form=KeysQuery, scope="keys:read")
KEY = Question(name="key", form=KeyRef, scope="keys:read")
CAPS = Question(name="caps", form=CapsQuery, scope="keys:read")
CAP = Question(name="cap", form=CapRef, scope="keys:read")
CREDITS = Question(name="credits", form=CreditsQuery, scope="money:read")
CREDIT = Question(name="credit", form=CreditRef, scope="money:read")
STATEMENTS = Question(name="statements", form=StatementsQuery, scope="money:read")
STATEMENT = Question(name="statement", form=StatementRef, scope="money:read")
EXPORT = Question(name="export", form=ExportQuery, scope="money:read")
TOPUPS = Question(name="topups", form=TopupsQuery, scope="money:read")
TOPUP = Question(name="topup", form=TopupRef, scope="money:read")
CALLS = Question(name="calls", form=CallsQuery, scope="usage:read")
CALL = Question(name="call", form=CallRef, scope="usage:read")
USAGE = Question(name="usage", form=SumsQuery, scope="usage:read")
MODELS = Question(name="models", form=ModelsQuery, scope="catalogue:read")
MODEL = Question(name="model", form=ModelRef, scope="catalogue:read")
PRICES = Question(name="prices", form=ModelRef, scope="catalogue:read")
POOLS = Question(name="pools", form=PoolsQuery, scope="pools:read", deployment=True)
POOL = Question(name="pool", form=PoolRef, scope="pools:read", deployment=True)
WEBHOOK_ENDPOINTS = Question(name="webhook_endpoints", form=EndpointList, scope="webhooks:read")
WEBHOOK_ENDPOINT = Question(name="webhook_endpoint", form=WebhookRef, scope="webhooks:read")
EVENTS = Question(name="events", form=EventList, scope="webhooks:read")
EVENT = Question(name="event", form=EventRef, scope="webhooks:read")
DELIVERIES = Question(name="deliveries", form=DeliveryList, scope="webhooks:read")
AUDIT_ENTRIES = Question(name="audit_entries", form=AuditEntriesQuery, scope="audit:read", deployment=True)
BOOKS = Question(name="books", form=AuditQuery, scope="money:read", deployment=True)
BOOKS_AUDIT = Question(name="books_audit", form=AuditQuery, scope="money:read", deployment=True)
PARKED = Question(name="parked", form=ParkedQuery, scope="money:read", deployment=True)
SETTINGS = Question(name="settings", form=SettingsQuery, scope="settings:read", deployment=True)
SETTINGS_CHECK = Question(name="settings_check", form=SettingsCheck, scope="settings:read", deployment=True)
SETTINGS_RELOADED = Question(
    name="settings_reloaded", form=SettingsReloaded, scope="settings:read", deployment=True
)
OPERATORS = Question(name="operators", form=OperatorList, scope="operators:read")
OPERATOR = Question(name="operator", form=OperatorRef, scope="operators:read")
MANAGEMENT_KEYS = Question(name="management_keys", form=ManagementKeyList, scope="operators:read")
MANAGEMENT_KEY = Question(name="management_key", form=ManagementKeyRef, scope="operators:read")
SESSIONS = Question(name="sessions", form=SessionList, scope="operators:read")
SESSION = Question(name="session", form=SessionRef, scope="operators:read")

QUESTIONS: tuple[Question[Any], ...] = (
    ME,
    ORGANIZATIONS,
    ORGANIZATION,
    KEYS,
    KEY,
    CAPS,
    CAP,
    CREDITS,
    CREDIT,
    STATEMENTS,
    STATEMENT,
    EXPORT,
    TOPUPS,
    TOPUP,
    CALLS,
    CALL,
    USAGE,
    MODELS,
    MODEL,
    PRICES,
    POOLS,
    POOL,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_ENDPOINT,
    EVENTS,
    EVENT,
    DELIVERIES,
    AUDIT_ENTRIES,
    BOOKS,
    BOOKS_AUDIT,
    PARKED,
    SETTINGS,
    SETTINGS_CHECK,
    SETTINGS_RELOADED,
    OPERATORS,
    OPERATOR,
    MANAGEMENT_KEYS,
    MANAGEMENT_KEY,
    SESSIONS,
    SESSION,
)
