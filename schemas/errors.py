"""Owns the errors a caller can see: one closed table of statuses, types and codes, and OpenAI's envelope."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from msgspec import Struct


class WireError(Struct, frozen=True, array_like=True, omit_defaults=True):
    """An error on its way to a caller: from a worker in a frame, or made in the edge.

    `retry_after_s` becomes `Retry-After`; `should_retry` becomes `x-should-retry` (left out when None).
    """

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None

    def body(self) -> bytes:
        """OpenAI's error envelope, all four keys present."""
        return _encode({"error": self.fields()})

    def event(self) -> bytes:
        """The same as one event of a stream: SDKs raise on it."""
        return b"data: " + self.body() + b"\n\n"

    def fields(self) -> dict[str, Any]:
        """The four keys of the envelope's inner object."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


_encode = msgspec.json.Encoder().encode

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
UNAVAILABLE = "service_unavailable_error"
RETRY_LATER_S = 1.0
NOT_RECORDED = "not_recorded"  # the code of a call that is complete but whose bill was not durable in time


CONTEXT_TOO_LONG = "context_length_exceeded"
# How servers that know no codes say it.
_TOO_LONG = re.compile(r"maximum context length|context (?:length|window)|prompt is too long", re.IGNORECASE)


def gives_way(error: WireError) -> bool:
    """Whether another model may serve a call that ended so: what failed was a provider or a model, not the request.

    A body that is refused, its content, or what its input refers to, is the caller's: no other model is asked to take it.
    """
    if error.status == 400:
        return error.code == CONTEXT_TOO_LONG or _TOO_LONG.search(error.message) is not None
    if error.status == 404:
        return error.param != "input"
    return error.status in (413, 429) or error.status >= 500


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> WireError:
    """400: the caller's body cannot be served as it is."""
    return WireError(400, INVALID_REQUEST, message, code, param)


def unsupported_parameter(param: str, message: str) -> WireError:
    """400: this model cannot honour a parameter at all."""
    return invalid(message, param=param, code="unsupported_parameter")


def unsupported_value(param: str, message: str) -> WireError:
    """400: this model cannot honour the value of a parameter."""
    return invalid(message, param=param, code="unsupported_value")


def missing_key() -> WireError:
    """401: no bearer key was sent."""
    return WireError(
        401,
        INVALID_REQUEST,
        "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.",
    )


def bad_key() -> WireError:
    """401: malformed, unknown or revoked; which of them is nobody's business."""
    return WireError(
        401,
        INVALID_REQUEST,
        "Incorrect API key provided. Check the key, or ask its issuer for a new one.",
        "invalid_api_key",
    )


def expired_key(expired_ms: int) -> WireError:
    """401: a key, or the secret that was shown, whose time is over."""
    on = datetime.fromtimestamp(expired_ms / 1000, UTC)
    return WireError(
        401,
        INVALID_REQUEST,
        f"This key expired on {on:%Y-%m-%d} at {on:%H:%M:%S} UTC. Ask its issuer for a new one.",
        "invalid_api_key",
    )


def key_paused() -> WireError:
    """403: a key that its issuer has stopped for a time."""
    return WireError(
        403,
        "permission_error",
        "This key is paused: it can make no calls until its issuer resumes it.",
        "key_paused",
        should_retry=False,
    )


def organization_suspended() -> WireError:
    """403: no key of this organisation can make a call."""
    return WireError(
        403,
        "permission_error",
        "The organisation of this key is suspended: none of its keys can make calls until it is resumed.",
        "organization_suspended",
        should_retry=False,
    )


def insufficient_balance(message: str) -> WireError:
    """402: the key's balance does not cover the call; retrying cannot help."""
    return WireError(402, "billing_error", message, "insufficient_balance", should_retry=False)


def cap_reached(message: str) -> WireError:
    """402: a spend cap leaves too little for the call; retrying cannot help before its period ends."""
    return WireError(402, "billing_error", message, "spend_cap_reached", should_retry=False)


def provider_denied(model: str) -> WireError:
    """403: the key may not use this model's provider."""
    return WireError(
        403,
        "permission_error",
        f"This key may not use the provider of the model `{model}`. Ask its issuer to allow it.",
        "model_not_allowed",
        "model",
    )


def model_denied(model: str) -> WireError:
    """403: the key has a list of models, without this one."""
    return WireError(
        403,
        "permission_error",
        f"This key may not use the model `{model}`. GET /v1/models lists those that it may; its issuer can allow others.",
        "model_not_allowed",
        "model",
    )


def model_not_found(model: str, successor: str | None = None) -> WireError:
    """404: no such model, or its provider says that it is gone, or lists it to none of our accounts."""
    if successor:
        message = f"The model `{model}` is not offered by its provider now. Use `{successor}` instead."
    else:
        message = f"The model `{model}` does not exist. GET /v1/models lists the models that can be used."
    return WireError(404, INVALID_REQUEST, message, "model_not_found", "model")


def model_retired(model: str, on: date | None, successor: str | None) -> WireError:
    """404: its provider has ended a model, on a day if that is known; `successor` can be called here."""
    text = f"The model `{model}` was retired by its provider" + (f" on {on.isoformat()}." if on else ".")
    text += f" Use `{successor}` instead." if successor else ""
    return WireError(404, INVALID_REQUEST, text, "model_not_found", "model")


def unknown_path(method: str, path: str, meant: str, routes: Sequence[str]) -> WireError:
    """404: no such route. `meant` is the path that comes close, or ""; `routes` are those that there are."""
    hint = f" Did you mean {meant}?" if meant else ""
    message = f"Unknown request URL: {method} {path}.{hint} This gateway serves {', '.join(routes)}."
    return WireError(404, INVALID_REQUEST, message, "unknown_url")


def wrong_method(method: str, path: str) -> WireError:
    """405: the route exists, the method does not."""
    return WireError(405, INVALID_REQUEST, f"Not allowed to {method} on {path}.", "method_not_allowed")


def request_timeout() -> WireError:
    """408: the request's body took too long to arrive."""
    return WireError(408, INVALID_REQUEST, "The request body took too long to arrive.", "request_timeout")


def too_large(limit_bytes: int) -> WireError:
    """413: a body above the limit."""
    return WireError(
        413,
        INVALID_REQUEST,
        f"The request body is larger than {limit_bytes} bytes.",
        "request_too_large",
        should_retry=False,
    )


def saturated(message: str, *, retry_after_s: float = RETRY_LATER_S) -> WireError:
    """429: pool, upstream or gateway has no room now."""
    return WireError(429, "rate_limit_error", message, "rate_limit_exceeded", retry_after_s=retry_after_s)


def limited(kind: str, message: str, *, retry_after_s: float | None) -> WireError:
    """429: the key, or its organisation, is at its limit; without a wait that would help, the same need not come again."""
    return WireError(
        429,
        kind,
        message,
        "rate_limit_exceeded",
        retry_after_s=retry_after_s,
        should_retry=False if retry_after_s is None else None,
    )


def internal() -> WireError:
    """500: our fault, with nothing told."""
    return WireError(500, SERVER_ERROR, "The gateway had an error while processing the request.")


def upstream_failed(
    message: str = "The upstream provider failed. Retry with backoff.",
    *,
    code: str = "upstream_error",
    retry_after_s: float | None = RETRY_LATER_S,
) -> WireError:
    """502: the upstream failed or answered nonsense."""
    return WireError(502, SERVER_ERROR, message, code, retry_after_s=retry_after_s)


def upstream_auth() -> WireError:
    """502: the upstream refused our own credentials: never the caller's 401."""
    return WireError(
        502,
        SERVER_ERROR,
        "The upstream provider refused the gateway's credentials. Retry later.",
        "upstream_auth",
        retry_after_s=30.0,
    )


def upstream_denied() -> WireError:
    """502: none of our accounts that could be asked may use this model."""
    return WireError(
        502,
        SERVER_ERROR,
        "The upstream provider gives the gateway no access to this model. Retry later, or use another model.",
        "upstream_auth",
        retry_after_s=30.0,
    )


def refused_input(message: str) -> WireError:
    """400: the upstream will not have what the caller wrote, whoever asks."""
    return invalid(message or "The upstream provider refused the input.", code="content_policy_violation")


def request_too_large(message: str) -> WireError:
    """413: more than the upstream takes in one request, however long one waits."""
    return WireError(413, INVALID_REQUEST, message, "request_too_large", should_retry=False)


def unavailable(message: str, *, code: str | None = None, retry_after_s: float = RETRY_LATER_S) -> WireError:
    """503: a part of the gateway that every call needs is away."""
    return WireError(503, UNAVAILABLE, message, code, retry_after_s=retry_after_s)


def not_recorded() -> WireError:
    """503: the call was answered, but its bill was not durable in time."""
    return unavailable("The call could not be recorded in time. Retry with backoff.", code=NOT_RECORDED)


def overloaded() -> WireError:
    """503: the upstream says that it is overloaded."""
    return unavailable("The upstream provider is overloaded.", code="server_is_overloaded")


def upstream_timeout() -> WireError:
    """504: the upstream did not answer in time."""
    return WireError(
        504,
        SERVER_ERROR,
        "The upstream provider did not answer in time.",
        "upstream_timeout",
        retry_after_s=RETRY_LATER_S,
    )
