"""Owns what each status of an error means to a caller, and the codes that come with it."""

from typing import Final

from msgspec import Struct


class Failure(Struct, frozen=True):
    """One status: what it means and what to do, and the codes by which a program tells its kinds."""

    meaning: str
    codes: tuple[str, ...] = ()


FAILURES: Final = {
    400: Failure(
        "The request cannot be served as it is, or the model cannot honour a field. `param` names the field.",
        (
            "unsupported_parameter",
            "unsupported_value",
            "invalid_value",
            "unknown_parameter",
            "context_length_exceeded",
        ),
    ),
    401: Failure("The key is missing, malformed, unknown, revoked or expired.", ("invalid_api_key",)),
    402: Failure(
        "The metered balance of this key, or a spend cap, does not cover the call. Nothing was spent; a retry cannot help.",
        ("insufficient_balance", "spend_cap_reached"),
    ),
    403: Failure(
        "The key may not use the model or its provider, is paused, or its organisation is suspended.",
        ("model_not_allowed", "key_paused", "organization_suspended"),
    ),
    404: Failure(
        "There is no such model, call or path.", ("model_not_found", "generation_not_found", "unknown_url")
    ),
    405: Failure("The path exists, the method does not.", ("method_not_allowed",)),
    408: Failure("The request's body took too long to arrive.", ("request_timeout",)),
    413: Failure("The body is larger than the gateway or the provider takes.", ("request_too_large",)),
    426: Failure("Responses are answered over HTTP alone, not over WebSockets.", ("upgrade_required",)),
    429: Failure(
        "The key is at a limit, or pool or provider is saturated. Wait as long as `Retry-After` says, then retry with backoff.",
        ("rate_limit_exceeded",),
    ),
    500: Failure("The gateway had an error. Retry with backoff."),
    502: Failure("The upstream provider failed. Retry with backoff.", ("upstream_error", "upstream_auth")),
    503: Failure(
        "A part of the gateway, or the provider, is away or overloaded. Retry with backoff.",
        ("server_is_overloaded",),
    ),
    504: Failure("The upstream provider did not answer in time.", ("upstream_timeout",)),
    529: Failure("The provider is overloaded, in Anthropic's words."),
}
OF_READS: Final = (400, 401, 404, 408, 413, 429, 500, 503)
OF_CALLS: Final = (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504)
