"""What Anthropic's errors become: the caller's status, type and code, and what happens to the account."""

import json

import pytest

from tests.fakes.anthropic import error_body
from workers.providers.anthropic.errors import STATUS_BY_TYPE, fault_of_event
from workers.providers.anthropic.family import Anthropic
from workers.providers.base import Action


def fault(status, error, **headers):
    """The fault of one error answer."""
    return Anthropic().fault(status, headers, json.dumps(error).encode())


@pytest.mark.parametrize(
    ("status", "kind", "message", "told"),
    [
        (400, "invalid_request_error", "messages: bad", (400, None, Action.STOP)),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 > 8",
            (400, "context_length_exceeded", Action.STOP),
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low",
            (503, "upstream_quota", Action.SPENT),
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your spending limit",
            (503, "upstream_quota", Action.SPENT),
        ),
        (401, "authentication_error", "invalid x-api-key", (502, "upstream_auth", Action.REFUSED)),
        (402, "billing_error", "pay", (503, "upstream_quota", Action.SPENT)),
        (403, "permission_error", "no", (502, "upstream_auth", Action.REFUSED)),
        (404, "not_found_error", "model: claude-x", (404, "model_not_found", Action.GONE)),
        (409, "conflict_error", "x", (503, None, Action.STOP)),
        (413, "request_too_large", "x", (413, "request_too_large", Action.STOP)),
        (429, "rate_limit_error", "slow", (429, "rate_limit_exceeded", Action.COOL)),
        (500, "api_error", "x", (502, "upstream_error", Action.NEXT)),
        (504, "timeout_error", "x", (504, "upstream_timeout", Action.NEXT)),
        (529, "overloaded_error", "Overloaded", (503, "server_is_overloaded", Action.NEXT)),
    ],
)
def test_errors(status, kind, message, told):
    """Every error of the table, by status and as an event in a stream."""
    by_status = fault(status, error_body(kind, message))
    by_event = fault_of_event(error_body(kind, message)["error"], unbilled=False)
    for found in (by_status, by_event):
        assert (found.error.status, found.error.code, found.action) == told
    assert by_status.unbilled
    assert not by_event.unbilled


def test_c40_a_broken_stream_is_no_fault_of_the_caller():
    """No upstream failure is told as a 400 or an authentication problem of the caller's."""
    for kind in STATUS_BY_TYPE.keys() - {"invalid_request_error"}:
        error = fault_of_event({"type": kind, "message": "x"}, unbilled=True).error
        assert error.status not in (400, 401, 402, 403)


def test_retry_after_is_passed_on():
    """A 429 with a time cools the account for it and tells the caller; one without tells SDKs not to retry."""
    timed = fault(429, error_body("rate_limit_error", "x"), **{"retry-after": "17"})
    assert (timed.cool_s, timed.error.retry_after_s, timed.error.should_retry) == (17.0, 17.0, None)
    untold = fault(429, error_body("rate_limit_error", "x"))
    assert untold.error.should_retry is False
    assert untold.cool_s == 30.0


@pytest.mark.parametrize(
    "code", ["enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded"]
)
def test_spend_limits_send_the_call_to_another_account(code):
    """A 429 about money takes the account out and is not retried by SDKs."""
    found = fault(429, error_body("rate_limit_error", "x", error_code=code), **{"retry-after": "5"})
    assert found.action is Action.SPENT
    assert found.error.should_retry is False


def test_messages_are_scrubbed():
    """Keys and workspace ids in an upstream's message reach no caller."""
    found = fault(
        400, error_body("invalid_request_error", "bad sk-ant-api03-abcdefghijk in wrkspc_01ABCDEFGHIJ")
    )
    assert "abcdefghijk" not in found.error.message
    assert "01ABCDEFGHIJ" not in found.error.message


@pytest.mark.parametrize(
    "body", [b"", b"<html>413</html>", b"[]", b'{"error":7}', b"\xff", b'{"error":{"type":7}}']
)
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529, 599])
def test_any_body_has_a_meaning(status, body):
    """An error whose body cannot be read is told by its status; a 404 that is not the API's is our own mistake."""
    found = Anthropic().fault(status, {}, body)
    assert found.error.status in (400, 413, 429, 502, 503)
    assert (found.action is Action.GONE) is False


@pytest.mark.parametrize("error", [None, "text", 7, [], {}, {"type": 7}])
def test_any_error_event_has_a_meaning(error):
    """An error event without a known shape is an upstream failure."""
    assert fault_of_event(error, unbilled=True).error.status == 502
