"""Owns the errors that the four families answer with, as their documents and users' reports have them, in raw bytes.

Each says what it is about, and so what it may take from callers: nothing but the request, the model on that account,
or the account. Only a dead credential is `sure`.
"""

import json
from typing import Any

from msgspec import Struct

from workers.providers.base import About, Action


class Refusal(Struct, frozen=True, kw_only=True):
    """An upstream's answer, and what it means: what to do, what it is about, and the status that its caller is told."""

    family: str
    status: int
    body: bytes
    headers: dict[str, str] = {}
    action: Action
    about: About
    told: int
    sure: bool = False

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.family}-{self.status}-{self.body[:70].decode(errors='replace')}"


def _json(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def openai(message: str, *, code: Any = None, kind: Any = "invalid_request_error", **more: Any) -> Any:
    """An error as OpenAI and its likes send it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


def anthropic(kind: str, message: str, **details: Any) -> Any:
    """An error of Anthropic's."""
    return {
        "type": "error",
        "error": {"type": kind, "message": message, "details": details},
        "request_id": "r",
    }


def gemini(status: int, name: str, message: str, *details: Any) -> Any:
    """An error of Google's."""
    return {"error": {"code": status, "message": message, "status": name, "details": list(details)}}


def quota(*ids: str) -> dict[str, Any]:
    """The quotas that Google says were exceeded."""
    violations = [{"quotaId": one, "quotaMetric": "generativelanguage.googleapis.com/x"} for one in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


def reason(name: str) -> dict[str, Any]:
    """A reason among Google's details."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}


def aws(name: str) -> dict[str, str]:
    """The header in which AWS names an error."""
    return {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


# What an answer may come to: action, what it is about, what its caller is told.
MINE = (Action.STOP, About.REQUEST, 400)
MINE_GONE = (Action.STOP, About.REQUEST, 404)
LARGE = (Action.STOP, About.REQUEST, 413)
NO_ACCESS = (Action.DENIED, About.MODEL, 502)
GONE = (Action.GONE, About.MODEL, 404)
SLOW = (Action.COOL, About.MODEL, 429)
SLOW_ACCOUNT = (Action.COOL, About.ACCOUNT, 429)
NO_PERMISSION = (Action.REFUSED, About.ACCOUNT, 502)
FAILED = (Action.NEXT, About.MODEL, 502)
BUSY = (Action.NEXT, About.MODEL, 503)
BUSY_TIMED = (Action.COOL, About.MODEL, 503)
LATE = (Action.NEXT, About.MODEL, 504)
SPENT = (Action.SPENT, About.ACCOUNT, 429)
SPENT_503 = (Action.SPENT, About.ACCOUNT, 503)
DEAD = (Action.REFUSED, About.ACCOUNT, 502, True)

_OPENAI: tuple[tuple[int, Any, Any, dict[str, str]], ...] = (
    (
        403,
        openai("Project `proj_x` does not have access to model `denied`", code="model_not_found"),
        NO_ACCESS,
        {},
    ),
    (403, openai("You are not allowed to sample from this model", code=None), NO_ACCESS, {}),
    (403, openai("no", param="model"), NO_ACCESS, {}),
    (
        403,
        openai("team not allowed", kind="team_model_access_denied", code="403"),
        NO_ACCESS,
        {},
    ),
    (401, openai("key can only access models=['x']", kind="key_model_access_denied"), NO_ACCESS, {}),
    (
        403,
        {
            "error": {
                "code": 403,
                "message": "Your input was flagged",
                "metadata": {"reasons": ["violence"]},
            }
        },
        MINE,
        {},
    ),
    (403, {"error": {"code": 403, "message": "no", "metadata": {"reasons": ["x"]}}}, MINE, {}),
    (403, openai("Your request was rejected by our safety system."), MINE, {}),
    (403, openai("x", code="content_policy_violation"), MINE, {}),
    (403, openai("This input breaks our content policy."), MINE, {}),
    (403, openai("x", code="account_deactivated"), DEAD, {}),
    (403, openai("x", code="invalid_api_key"), DEAD, {}),
    (
        403,
        openai("Country not supported", code="unsupported_country_region_territory"),
        DEAD,
        {},
    ),
    (401, openai("Incorrect API key provided", code="invalid_api_key"), DEAD, {}),
    (401, b"", DEAD, {}),
    (403, openai("Missing scopes: model.request", code="missing_scope"), NO_PERMISSION, {}),
    (403, openai("Your organization has been disabled."), NO_PERMISSION, {}),
    (403, {"error": "Your API key was revoked"}, NO_PERMISSION, {}),
    (403, openai("Forbidden"), NO_ACCESS, {}),
    (403, b"<html>blocked by a firewall</html>", NO_ACCESS, {}),
    (403, {"detail": "Forbidden"}, NO_ACCESS, {}),
    (404, openai("The model `a` does not exist", code="model_not_found"), GONE, {}),
    (404, openai("x", code="model_deprecated"), GONE, {}),
    (400, openai("The model `a` has been decommissioned", code="model_decommissioned"), GONE, {}),
    (404, openai("The model `a` does not exist.", kind="NotFoundError", code=404), GONE, {}),
    (404, openai("model 'a' not found", kind="not_found_error"), GONE, {}),
    (
        404,
        {
            "error": {
                "message": "No allowed providers are available for the selected model.",
                "code": 404,
            }
        },
        MINE_GONE,
        {},
    ),
    (404, openai("No endpoints found that support image input for this model"), MINE_GONE, {}),
    (404, openai("Invalid URL (POST /v2/x)"), FAILED, {}),
    (404, {"detail": "Not Found"}, FAILED, {}),
    (404, b"<html>nothing here</html>", FAILED, {}),
    (
        429,
        openai("Rate limit reached for a", kind="rate_limit_error", code="rate_limit_exceeded"),
        SLOW,
        {"retry-after": "20"},
    ),
    (
        429,
        openai(
            "Rate limit reached for gpt-4o in organization org-x on requests per day (RPD): Limit 200, Used 200, "
            "Requested 1.",
            kind="requests",
            code="rate_limit_exceeded",
        ),
        SLOW,
        {},
    ),
    (429, openai("Too many requests for team t and model grok-4", code=None), SLOW, {}),
    (429, openai("slow down", code="slow_down"), SLOW, {}),
    (429, b"", SLOW, {}),
    (429, b"<html>too many</html>", SLOW, {"retry-after-ms": "1500"}),
    (
        429,
        openai("Your account x request reached organization max RPM: 20", kind="rate_limit_reached_error"),
        SLOW_ACCOUNT,
        {},
    ),
    (429, openai("You exceeded your organization's rate limit."), SLOW_ACCOUNT, {}),
    (429, openai("Rate limit reached for organization org-x"), SLOW_ACCOUNT, {}),
    (429, openai("x", code="project_rate_limit_exceeded"), SLOW_ACCOUNT, {}),
    (
        429,
        openai(
            "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 64000.",
            kind="tokens",
            code="rate_limit_exceeded",
        ),
        LARGE,
        {},
    ),
    (
        429,
        openai("Rate limit reached for gpt-4o: Limit 30,000, Used 0, Requested 64,000.", kind="tokens"),
        LARGE,
        {},
    ),
    (
        413,
        openai(
            "Request too large for model `a` on tokens per minute", kind="tokens", code="rate_limit_exceeded"
        ),
        LARGE,
        {},
    ),
    (413, b"<html>413</html>", LARGE, {}),
    (429, openai("You exceeded your current quota", code="insufficient_quota"), SPENT, {}),
    (429, openai("x", code="billing_hard_limit_reached"), SPENT, {}),
    (403, openai("Key limit exceeded (total limit)", code=403), SPENT, {}),
    (403, {"code": "no", "error": "Your team has used all available credits"}, SPENT, {}),
    (402, openai("This request requires more credits, or fewer max_tokens"), SPENT, {}),
    (400, openai("messages: bad", code="invalid_value"), MINE, {}),
    (400, openai("too long", code="context_length_exceeded"), MINE, {}),
    (422, {"detail": [{"msg": "field required"}]}, MINE, {}),
    (415, b"", MINE, {}),
    (500, openai("oops", kind="server_error"), FAILED, {}),
    (500, b"", FAILED, {}),
    (502, b"<html>bad gateway</html>", FAILED, {}),
    (503, openai("busy", code="server_is_overloaded"), BUSY, {}),
    (503, openai("busy"), BUSY_TIMED, {"retry-after": "300"}),
    (529, b"", BUSY_TIMED, {"retry-after": "300"}),
    (504, b"", LATE, {}),
    (408, b"", LATE, {}),
    (524, b"", LATE, {}),
    (418, b"short and stout", FAILED, {}),
)

_ANTHROPIC: tuple[tuple[int, Any, Any, dict[str, str]], ...] = (
    (
        403,
        anthropic("permission_error", "Your account does not have access to model: claude-x"),
        NO_ACCESS,
        {},
    ),
    (403, anthropic("permission_error", "model claude-x is not available to you"), NO_ACCESS, {}),
    (403, anthropic("permission_error", "Your input was flagged by our usage policies"), MINE, {}),
    (403, anthropic("permission_error", "no"), NO_PERMISSION, {}),
    (403, anthropic("permission_error", "This organization has been disabled."), NO_PERMISSION, {}),
    (403, b"<html>blocked</html>", NO_ACCESS, {}),
    (403, {"error": {"type": "forbidden", "message": "Request not allowed"}}, NO_ACCESS, {}),
    (401, anthropic("authentication_error", "invalid x-api-key"), DEAD, {}),
    (401, b"", DEAD, {}),
    (404, anthropic("not_found_error", "model: claude-x"), GONE, {}),
    (404, anthropic("not_found_error", "Not Found"), FAILED, {}),
    (404, anthropic("not_found_error", "File not found: file_1"), MINE_GONE, {}),
    (404, b"<html>the model page</html>", FAILED, {}),
    (
        429,
        anthropic("rate_limit_error", "Rate limit reached for a"),
        SLOW,
        {"retry-after": "20"},
    ),
    (
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
        ),
        SLOW,
        {"retry-after": "20"},
    ),
    (
        429,
        anthropic("rate_limit_error", "This request would exceed your account's rate limit."),
        SLOW_ACCOUNT,
        {},
    ),
    (429, anthropic("rate_limit_error", "slow"), SLOW, {}),
    (429, b"", SLOW, {}),
    (429, anthropic("rate_limit_error", "Request too large: it can never pass"), LARGE, {}),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), LARGE, {}),
    (413, b"<html>413</html>", LARGE, {}),
    (
        429,
        anthropic("rate_limit_error", "x", error_code="enforced_spend_limit_reached"),
        SPENT_503,
        {},
    ),
    (402, anthropic("billing_error", "pay"), SPENT_503, {}),
    (400, anthropic("invalid_request_error", "Your credit balance is too low"), SPENT_503, {}),
    (400, anthropic("invalid_request_error", "messages: bad"), MINE, {}),
    (400, anthropic("invalid_request_error", "prompt is too long: 9 > 8"), MINE, {}),
    (422, b"", MINE, {}),
    (409, anthropic("conflict_error", "x"), (Action.STOP, About.REQUEST, 503), {}),
    (500, anthropic("api_error", "x"), FAILED, {}),
    (529, anthropic("overloaded_error", "Overloaded"), BUSY, {}),
    (529, anthropic("overloaded_error", "Overloaded"), BUSY_TIMED, {"retry-after": "300"}),
    (503, b"", BUSY, {}),
    (504, anthropic("timeout_error", "x"), LATE, {}),
    (418, b"[]", FAILED, {}),
)

_GEMINI: tuple[tuple[int, Any, Any, dict[str, str]], ...] = (
    (
        403,
        gemini(403, "PERMISSION_DENIED", "Project does not have access to models/gemini-x"),
        NO_ACCESS,
        {},
    ),
    (403, gemini(403, "PERMISSION_DENIED", "The prompt was flagged: prohibited content"), MINE, {}),
    (403, gemini(403, "PERMISSION_DENIED", "The caller does not have permission"), NO_PERMISSION, {}),
    (403, gemini(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), NO_PERMISSION, {}),
    (403, gemini(403, "PERMISSION_DENIED", "x", reason("CONSUMER_SUSPENDED")), DEAD, {}),
    (403, gemini(403, "PERMISSION_DENIED", "x", reason("API_KEY_SERVICE_BLOCKED")), DEAD, {}),
    (400, gemini(400, "INVALID_ARGUMENT", "x", reason("API_KEY_INVALID")), DEAD, {}),
    (400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid one."), DEAD, {}),
    (401, gemini(401, "UNAUTHENTICATED", "x"), DEAD, {}),
    (403, b"<html>blocked</html>", NO_ACCESS, {}),
    (404, gemini(404, "NOT_FOUND", "models/x is not found for API version v1beta"), GONE, {}),
    (404, gemini(404, "NOT_FOUND", "CachedContent not found (or permission denied)"), MINE_GONE, {}),
    (404, b"<html>not the model you look for</html>", FAILED, {}),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted"), SLOW, {}),
    (429, b"", SLOW, {"retry-after": "20"}),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")),
        SLOW,
        {},
    ),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateContentInputTokensPerModelPerMinute-FreeTier")),
        SLOW,
        {},
    ),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerMinutePerProject")),
        SLOW_ACCOUNT,
        {},
    ),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
        (Action.SPENT, About.MODEL, 429),
        {},
    ),
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerDayPerProject")),
        SPENT,
        {},
    ),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "Request too large for this quota"), LARGE, {}),
    (
        400,
        gemini(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        MINE,
        {},
    ),
    (413, b"", LARGE, {}),
    (402, gemini(402, "FAILED_PRECONDITION", "x"), SPENT_503, {}),
    (
        400,
        gemini(400, "FAILED_PRECONDITION", "User location is not supported."),
        (Action.COOL, About.ACCOUNT, 503),
        {},
    ),
    (400, gemini(400, "FAILED_PRECONDITION", "The file is not in an ACTIVE state."), BUSY_TIMED, {}),
    (400, gemini(400, "INVALID_ARGUMENT", "Invalid function name: API_KEY_INVALID"), MINE, {}),
    (400, b"", MINE, {}),
    (500, gemini(500, "INTERNAL", "x"), FAILED, {}),
    (503, gemini(503, "UNAVAILABLE", "x"), BUSY, {}),
    (503, b"", BUSY, {"retry-after": "300"}),
    (504, gemini(504, "DEADLINE_EXCEEDED", "x"), LATE, {}),
    (418, b"[]", FAILED, {}),
)

_BEDROCK: tuple[tuple[int, Any, Any, dict[str, str]], ...] = (
    (
        403,
        {"message": "You don't have access to the model with the specified model ID."},
        NO_ACCESS,
        aws("AccessDeniedException"),
    ),
    (
        403,
        {"message": "User: x is not authorized to perform: bedrock:InvokeModel on resource: y"},
        NO_ACCESS,
        aws("AccessDeniedException"),
    ),
    (403, {"message": "The input was flagged by moderation"}, MINE, aws("AccessDeniedException")),
    (403, {"message": "User: x is not authorized"}, NO_PERMISSION, aws("AccessDeniedException")),
    (403, b"<html>blocked</html>", NO_ACCESS, {}),
    (403, {"message": "x"}, DEAD, aws("UnrecognizedClientException")),
    (403, {"message": "x"}, DEAD, aws("InvalidSignatureException")),
    (403, {"message": "x"}, DEAD, aws("ExpiredTokenException")),
    (403, {"__type": "com.amazon.coral.service#ExpiredToken", "Message": "x"}, DEAD, {}),
    (401, b"", DEAD, {}),
    (
        404,
        {"message": "This model version has reached the end of its life."},
        GONE,
        aws("ResourceNotFoundException"),
    ),
    (404, {"message": "The resource does not exist"}, GONE, aws("ResourceNotFoundException")),
    (
        404,
        {"message": "This Model is marked by provider as Legacy and you have not been using it"},
        (Action.NEXT, About.MODEL, 404),
        aws("ResourceNotFoundException"),
    ),
    (
        400,
        {"message": "The provided model identifier is invalid."},
        GONE,
        aws("ValidationException"),
    ),
    (
        400,
        {"message": "The tool `model` does not exist in toolConfig"},
        MINE,
        aws("ValidationException"),
    ),
    (400, {"message": "messages.0: bad"}, MINE, aws("ValidationException")),
    (400, {"message": "Input is too long for requested model."}, MINE, aws("ValidationException")),
    (
        429,
        {"message": "Too many requests, please wait before trying again."},
        SLOW,
        aws("ThrottlingException"),
    ),
    (
        429,
        {"message": "Your account's quota was exceeded"},
        SLOW_ACCOUNT,
        aws("ThrottlingException"),
    ),
    (429, b"", SLOW, {}),
    (429, {"message": "Request too large for the quota"}, LARGE, aws("ThrottlingException")),
    (400, {"message": "quota"}, SLOW, aws("ServiceQuotaExceededException")),
    (429, {"message": "loading"}, BUSY, aws("ModelNotReadyException")),
    (408, {"message": "slow"}, LATE, aws("ModelTimeoutException")),
    (424, {"message": "x"}, FAILED, aws("ModelErrorException")),
    (500, {"message": "x"}, FAILED, aws("InternalServerException")),
    (503, {"message": "x"}, BUSY, aws("ServiceUnavailableException")),
    (413, b"", LARGE, {}),
    (418, b"tea", FAILED, {}),
)

REFUSALS: tuple[Refusal, ...] = tuple(
    Refusal(
        family=family,
        status=status,
        body=_json(body),
        headers=headers,
        action=meaning[0],
        about=meaning[1],
        told=meaning[2],
        sure=len(meaning) > 3,
    )
    for family, table in (
        ("openai", _OPENAI),
        ("anthropic", _ANTHROPIC),
        ("gemini", _GEMINI),
        ("bedrock", _BEDROCK),
    )
    for status, body, meaning, headers in table
)
