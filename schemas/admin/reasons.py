"""Owns the words by which a ledger says why something was refused, and the HTTP status that each has."""

from enum import StrEnum

from schemas.verbs.base import Rows


class Reason(StrEnum):
    """Why something was refused; `Rows.problem` says it in a sentence."""

    INVALID_REQUEST = "invalid_request_error"
    INVALID_MANAGEMENT_KEY = "invalid_management_key"  # unknown, revoked and expired ones alike
    INVALID_SESSION = "invalid_session"  # ended, idle for too long, or its operator is gone
    INVALID_SIGN_IN = "invalid_sign_in"  # a link that was used, is too old, or that a later one replaced
    INVALID_ID_TOKEN = "invalid_id_token"  # noqa: S105  a word, no secret: it proves nothing, was used, or cannot be verified now
    SIGN_IN_REFUSED = "sign_in_refused"  # the provider knows who it is, and that one may not sign in here
    MISSING_SCOPE = "missing_scope"  # the sentence names it
    ORGANIZATION_FORBIDDEN = (
        "organization_forbidden"  # it is the deployment's, and the credential is of one organisation
    )
    RESOURCE_MISSING = "resource_missing"  # also what is another organisation's
    ALREADY_EXISTS = "already_exists"
    CAP_EXISTS = "cap_exists"
    INSUFFICIENT_AVAILABLE = "insufficient_available"
    REFERENCE_USED = "reference_used"
    REFUND_EXCEEDS_CHARGE = "refund_exceeds_charge"
    VERSION_CONFLICT = "version_conflict"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    LAST_OWNER = "last_owner"
    NOT_ISSUABLE = (
        "not_issuable"  # a statement whose month is not over, whose turn it is not, or that is not true
    )
    INVALID_SIGNATURE = "invalid_signature"  # of an event that says it is Stripe's
    PAYMENTS_OFF = "payments_off"  # nobody can pay here: nothing is configured for it
    PAYMENTS_AWAY = "payments_away"  # Stripe did not answer, or not as it should
    CONFIG_REJECTED = "config_rejected"  # the sentence names file, table and key
    OLDER_LEDGER = "older_ledger"  # a ledger of an older version runs beside this one


STATUS: dict[Reason, int] = {
    Reason.INVALID_REQUEST: 400,
    Reason.INVALID_MANAGEMENT_KEY: 401,
    Reason.INVALID_SESSION: 401,
    Reason.INVALID_SIGN_IN: 401,
    Reason.INVALID_ID_TOKEN: 401,
    Reason.SIGN_IN_REFUSED: 403,
    Reason.MISSING_SCOPE: 403,
    Reason.ORGANIZATION_FORBIDDEN: 403,
    Reason.RESOURCE_MISSING: 404,
    Reason.INVALID_SIGNATURE: 400,
    Reason.PAYMENTS_OFF: 404,
    Reason.PAYMENTS_AWAY: 503,
    Reason.CONFIG_REJECTED: 400,
    Reason.OLDER_LEDGER: 409,
} | dict.fromkeys(
    (
        Reason.ALREADY_EXISTS,
        Reason.CAP_EXISTS,
        Reason.INSUFFICIENT_AVAILABLE,
        Reason.REFERENCE_USED,
        Reason.REFUND_EXCEEDS_CHARGE,
        Reason.VERSION_CONFLICT,
        Reason.IDEMPOTENCY_MISMATCH,
        Reason.LAST_OWNER,
        Reason.NOT_ISSUABLE,
    ),
    409,
)


def reason_of(answer: Rows) -> Reason | None:
    """Why an answer is a refusal; None if it is none. Some acts put the word before their sentence."""
    if not answer.problem:
        return None
    if answer.missing:
        return Reason.RESOURCE_MISSING
    word = answer.reason or answer.problem.partition(": ")[0]
    return Reason(word) if word in set(Reason) else Reason.INVALID_REQUEST


def sentence_of(answer: Rows) -> str:
    """The sentence of a refusal, without its word."""
    word, colon, rest = answer.problem.partition(": ")
    return rest if colon and word in set(Reason) else answer.problem
