"""Gemini's errors: what the caller is told, and what becomes of the account and the call."""

import json

import pytest

from tests.fakes.gemini import error_body
from tests.workers.providers.gemini.cases import exchange, play, stream_job, wire
from workers.providers.base import Action
from workers.providers.gemini.family import Gemini

RETRY = "type.googleapis.com/google.rpc.RetryInfo"
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def bad_key(reason="API_KEY_INVALID"):
    """The 400 that Google answers to a wrong key."""
    info = {"@type": INFO, "reason": reason, "domain": "googleapis.com"}
    return error_body(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info)


def fault_of(status, body, headers=None):
    """The fault of a non-2xx answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Gemini().fault(status, headers or {}, raw)


@pytest.mark.parametrize(
    ("status", "body", "told", "code", "action"),
    [
        (400, error_body(400, "INVALID_ARGUMENT", "Bad schema."), 400, None, Action.STOP),
        (400, bad_key(), 502, "upstream_auth", Action.REFUSED),
        (400, bad_key("API_KEY_EXPIRED"), 502, "upstream_auth", Action.REFUSED),
        (
            400,
            error_body(400, "INVALID_ARGUMENT", "API Key not found."),
            502,
            "upstream_auth",
            Action.REFUSED,
        ),
        (
            400,
            error_body(400, "FAILED_PRECONDITION", "User location is not supported."),
            503,
            "upstream_quota",
            Action.COOL,
        ),
        (401, error_body(401, "UNAUTHENTICATED", "x"), 502, "upstream_auth", Action.REFUSED),
        (402, error_body(402, "FAILED_PRECONDITION", "x"), 503, "upstream_quota", Action.SPENT),
        (403, error_body(403, "PERMISSION_DENIED", "x"), 502, "upstream_auth", Action.REFUSED),
        (404, error_body(404, "NOT_FOUND", "models/x is not found"), 404, "model_not_found", Action.GONE),
        (404, b"<html>not found</html>", 502, "upstream_error", Action.NEXT),
        (413, b"", 413, "request_too_large", Action.STOP),
        (429, error_body(429, "RESOURCE_EXHAUSTED", "x"), 429, "rate_limit_exceeded", Action.COOL),
        (499, error_body(499, "CANCELLED", "x"), 502, "upstream_error", Action.NEXT),
        (500, error_body(500, "INTERNAL", "x"), 502, "upstream_error", Action.NEXT),
        (502, b"bad gateway", 502, "upstream_error", Action.NEXT),
        (503, error_body(503, "UNAVAILABLE", "x"), 503, "server_is_overloaded", Action.NEXT),
        (504, error_body(504, "DEADLINE_EXCEEDED", "x"), 504, "upstream_timeout", Action.NEXT),
        (418, b"[]", 502, "upstream_error", Action.NEXT),
        (500, b'{"error":"plain"}', 502, "upstream_error", Action.NEXT),
        (500, b'{"error":{"code":"x","details":null}}', 502, "upstream_error", Action.NEXT),
    ],
)
def test_errors_by_status_and_body(status, body, told, code, action):
    """Each error has its status, code and action; nothing is billed for it, and our own refusals are never a 401."""
    fault = fault_of(status, body)
    assert (fault.error.status, fault.error.code, fault.action) == (told, code, action)
    assert fault.unbilled


def test_error_wrapped_in_a_list():
    """The stream's endpoint wraps its errors in a list of one when it does not stream."""
    assert fault_of(503, [error_body(503, "UNAVAILABLE", "x")]).error.code == "server_is_overloaded"
    assert fault_of(400, [bad_key()]).action is Action.REFUSED


@pytest.mark.parametrize(
    ("delay", "retry_after_s", "cool_s"),
    [
        ("45.837906927s", 46, 45.837906927),
        ("7s", 7, 7.0),
        ("0.2s", 1, 0.2),
        ("999999999s", 300, 300.0),
        ("soon", 1.0, None),
        ("-3s", 1.0, None),
    ],
)
def test_c44_retry_delay_of_the_body(delay, retry_after_s, cool_s):
    """A delay in decimal seconds is read from the body, up to five minutes, and rounded up for the caller; others are ignored."""
    fault = fault_of(429, error_body(429, "RESOURCE_EXHAUSTED", "x", {"@type": RETRY, "retryDelay": delay}))
    assert fault.error.retry_after_s == retry_after_s
    assert fault.cool_s == cool_s
    assert fault.error.should_retry is None


def test_retry_delay_of_an_overload():
    """A 503 with a delay passes it on."""
    fault = fault_of(503, error_body(503, "UNAVAILABLE", "x", {"@type": RETRY, "retryDelay": "2.5s"}))
    assert fault.error.retry_after_s == 3.0
    assert fault_of(503, b"", {"retry-after": "9"}).error.retry_after_s == 9.0
    assert fault_of(503, b"", {"retry-after": "86400"}).error.retry_after_s == 300.0


def test_quota_per_day_is_not_retried():
    """A used-up quota per day leaves the account alone, and callers are told not to retry."""
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "50"}
    quota = {"@type": QUOTA, "violations": [violation]}
    retry = {"@type": RETRY, "retryDelay": "18s"}
    fault = fault_of(429, error_body(429, "RESOURCE_EXHAUSTED", "x", quota, retry))
    assert (fault.error.status, fault.error.should_retry) == (429, False)
    assert fault.action is Action.SPENT
    minute = {"@type": QUOTA, "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}
    assert fault_of(429, error_body(429, "RESOURCE_EXHAUSTED", "x", minute)).action is Action.COOL


def test_context_length():
    """A prompt that is too long has OpenAI's own code."""
    message = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    error = fault_of(400, error_body(400, "INVALID_ARGUMENT", message)).error
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message == message


@pytest.mark.parametrize(
    "secret",
    [
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "AQ.Ab8RN6Iabcdefghijklmnop",
        "projects/my-project-123",
        "123456789012",
        "https://console.developers.google.com/apis/api/x/overview?project=my-project",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_messages_are_scrubbed(secret, stream):
    """Keys, projects and links never reach a caller, in a body or in an event."""
    body = error_body(400, "INVALID_ARGUMENT", f"Request for {secret} is invalid.")
    if stream:
        made = exchange(stream_job())
        play(made, wire([body]))
        fault = made.fault
        assert fault is not None
    else:
        fault = fault_of(400, body)
    assert fault.error.status == 400
    assert secret not in fault.error.message
    assert fault.error.message.startswith("Request for ")


@pytest.mark.parametrize("code", [400, 429, 500, 503, 504, 0])
def test_error_events_have_the_faults_of_statuses(code):
    """An error inside a 200 means what the same status means."""
    status = {400: 400, 429: 429, 500: 502, 503: 503, 504: 504, 0: 502}[code]
    made = exchange(stream_job())
    play(made, wire([error_body(code, "X", "message")]))
    assert made.fault is not None
    assert made.fault.error.status == status
