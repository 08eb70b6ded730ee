"""Owns what Bedrock's errors mean, by their names: to the caller, to the account, and to the call."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from schemas.errors import (
    invalid,
    model_not_found,
    overloaded,
    saturated,
    unavailable,
    upstream_failed,
    upstream_timeout,
)
from schemas.json import UNREADABLE
from workers.providers.base import Action, Fault
from workers.providers.faults import (
    DEAD_KEY,
    NO_ACCESS,
    NO_PERMISSION,
    TOO_LARGE,
    UNKNOWN_REFUSAL,
    amid,
    limited,
    oversized,
    refusal,
    unverified,
)
from workers.providers.scrub import scrub

COOL_S: Final = 1.0  # after a throttle: Bedrock names no time
QUOTA_COOL_S: Final = 30.0  # a quota of the account, which other callers' calls use up too
RENEW_COOL_S: Final = 5.0  # credentials are being looked up again

MALFORMED: Final = Fault(
    upstream_failed("The model's answer was malformed. Retry with backoff.", code="malformed_output"),
    Action.NEXT,
    unbilled=False,
)

_GONE_WORDS: Final = (
    "model identifier is invalid",
    "end of its life",
    "could not resolve the foundation model",
    "model is not supported in this region",
)
# The only resource that a call's path names is the model.
_MISSING_WORDS: Final = ("doesn't exist", "does not exist")
_TOO_LONG_WORDS: Final = (
    "too long",
    "too many input tokens",
    "maximum context",
    "exceeds the maximum number of",
)


def _throttled(message: str) -> Fault:
    told = saturated("The upstream provider's rate limit was reached. Retry with backoff.")
    return oversized(message) or Fault(told, Action.COOL, COOL_S, about=limited(message))


def _over_quota(_: str) -> Fault:
    message = "A quota of the upstream account was reached. Retry with backoff."
    return Fault(saturated(message, retry_after_s=QUOTA_COOL_S), Action.COOL, QUOTA_COOL_S)


def _not_ready(_: str) -> Fault:
    message = "The upstream provider is still loading the model. Retry with backoff."
    return Fault(unavailable(message, code="model_not_ready", retry_after_s=5.0), Action.NEXT)


def _late(_: str) -> Fault:
    return Fault(upstream_timeout(), Action.NEXT)


def _failed(_: str) -> Fault:
    return Fault(upstream_failed(), Action.NEXT)


def _overloaded(_: str) -> Fault:
    return Fault(overloaded(), Action.NEXT)


def _refused(message: str) -> Fault:
    # Access to models is granted one by one: such an account may still serve others.
    otherwise = NO_ACCESS if "model" in message.lower() else NO_PERMISSION if message else UNKNOWN_REFUSAL
    return refusal(message, otherwise)


def _bad_signature(_: str) -> Fault:
    return DEAD_KEY


def _missing(message: str) -> Fault:
    # "Legacy … not been actively using": gone for this account, not for others.
    lower = message.lower()
    gone = _names_dead_model(lower) or any(words in lower for words in _MISSING_WORDS)
    return Fault(model_not_found("the model"), Action.GONE if gone else Action.NEXT)


def _names_dead_model(lower: str) -> bool:
    return any(words in lower for words in _GONE_WORDS)


def _invalid(message: str) -> Fault:
    lower = message.lower()
    if _names_dead_model(lower):
        return Fault(model_not_found("the model"), Action.GONE)
    if "on-demand throughput" in lower:  # the row's upstream id must be an inference profile: ours to repair
        return Fault(upstream_failed(), Action.NEXT)
    text = scrub(message) or "The upstream provider refused the request."
    if unverified(message):
        return Fault(invalid(text), Action.STOP, thoughts_refused=True)
    code = "context_length_exceeded" if any(words in lower for words in _TOO_LONG_WORDS) else None
    return Fault(invalid(text, param="messages" if code else None, code=code), Action.STOP)


def _too_large(_: str) -> Fault:
    return TOO_LARGE


_BY_NAME: Final[dict[str, Callable[[str], Fault]]] = {
    "ThrottlingException": _throttled,
    "TooManyRequestsException": _throttled,
    "ServiceQuotaExceededException": _over_quota,
    "ModelNotReadyException": _not_ready,
    "ModelTimeoutException": _late,
    "ModelErrorException": _failed,
    "ModelStreamErrorException": _failed,
    "InternalServerException": _failed,
    "InternalFailure": _failed,
    "ServiceUnavailableException": _overloaded,
    "ServiceUnavailable": _overloaded,
    "ValidationException": _invalid,
    "ResourceNotFoundException": _missing,
    "AccessDeniedException": _refused,
    "UnrecognizedClientException": _bad_signature,
    "InvalidSignatureException": _bad_signature,
    "SignatureDoesNotMatch": _bad_signature,
    "IncompleteSignatureException": _bad_signature,
    "IncompleteSignature": _bad_signature,
    "InvalidClientTokenId": _bad_signature,
    "MissingAuthenticationTokenException": _bad_signature,
    "MissingAuthenticationToken": _bad_signature,
    "ExpiredTokenException": _bad_signature,
    "ExpiredToken": _bad_signature,
    "RequestExpired": _bad_signature,
}
_BY_STATUS: Final[dict[int, Callable[[str], Fault]]] = {
    400: _invalid,
    401: _bad_signature,
    403: _refused,
    404: _missing,
    408: _late,
    413: _too_large,
    424: _failed,
    429: _throttled,
    503: _overloaded,
    504: _late,
}
_EXPIRED: Final = frozenset({"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"})


def error_name(headers: Mapping[str, str], body: Any) -> str:
    """What AWS calls an error: from its header, or from the body's type."""
    name = headers.get("x-amzn-errortype") or ""
    if not name and isinstance(body, dict):
        name = str(body.get("__type") or body.get("code") or "")
    return name.partition(":")[0].rpartition("#")[2].strip()


def fault_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> tuple[Fault, bool]:
    """What a non-2xx answer means, and whether the credentials that it was signed with are past their time."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except UNREADABLE:
        decoded = None
    name = error_name(headers, decoded)
    message = _message(decoded)
    judge = _BY_NAME.get(name) or _BY_STATUS.get(status) or _failed
    return judge(message), name in _EXPIRED


def fault_of_exception(name: str, payload: bytes, message: str = "", *, begun: bool) -> Fault:
    """What an exception or error frame inside a 2xx stream means. botocore calls them all 400: the name decides.

    Once the answer has `begun`, the provider bills what it had done by then.
    """
    try:
        decoded: Any = msgspec.json.decode(payload) if payload else None
    except UNREADABLE:
        decoded = None
    known = name[:1].upper() + name[1:]
    judge = _BY_NAME.get(known, _failed)
    if begun and judge is _throttled:
        # Throttled in the middle of an answer is the provider's load, not a rate that the caller exceeded.
        judge = _overloaded
    return msgspec.structs.replace(amid(judge(_message(decoded) or message)), unbilled=not begun)


def _message(decoded: Any) -> str:
    if not isinstance(decoded, dict):
        return ""
    message = decoded.get("message") or decoded.get("Message") or decoded.get("originalMessage")
    return message if isinstance(message, str) else ""
