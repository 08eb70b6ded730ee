"""Errors without a status of their own, and where they stand: the status that they are, in whatever words."""

import json
from typing import Any

import pytest

from workers.providers.base import Action
from workers.providers.openai.errors import event_fault, fault
from workers.providers.openai.places import bare_error, error_in, error_of
from workers.providers.openai.statuses import status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "429"}, 429),
        ({"status": 503, "code": "x"}, 503),
        ({"status_code": 404}, 404),
        ({"code": "RATE_LIMIT_EXCEEDED"}, 429),
        ({"code": "rate-limit-exceeded"}, 429),
        ({"code": "RateLimitExceeded"}, 429),
        ({"type": "RateLimitError"}, 429),
        ({"type": "BadRequestError", "code": None}, 400),
        ({"type": "ThrottlingException"}, 429),
        ({"code": "Throttling.RateQuota"}, 429),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status": "INVALID_ARGUMENT"}, 400),
        ({"code": "1302"}, 429),
        ({"code": 1302}, 429),
        ({"code": "1113"}, 402),
        ({"code": "INSUFFICIENT_QUOTA"}, 429),
        ({"code": "context_length_exceeded"}, 400),
        ({"type": "invalid_request_error"}, 400),
        ({"code": "never heard of"}, 502),
        ({"code": 200}, 502),
        ({"code": True}, 502),
        ({"code": 10**30}, 502),
        ({}, 502),
        (None, 502),
        ("text", 502),
    ],
)
def test_the_status_that_an_error_stands_for(error: Any, status: int) -> None:
    """Numbers, numbers as text, and words in any letters and joints are the status that they mean; else 502."""
    assert status_of(error) == status


def test_spent_credit_in_any_letters_is_spent() -> None:
    """A code of spent credit leaves the account alone, however it is spelt, with a status and without."""
    for code in ("INSUFFICIENT_QUOTA", "InsufficientQuota", "insufficient_quota"):
        assert event_fault({"code": code, "message": "x"}).action is Action.SPENT
        assert fault(429, {}, json.dumps({"error": {"code": code}}).encode()).action is Action.SPENT


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "a"}}, "a"),
        ({"error": "a"}, "a"),
        ({"message": "a"}, "a"),
        ({"detail": "a"}, "a"),
        ({"detail": [{"loc": ["body", "x"], "msg": "a"}]}, "body.x: a"),
        ({"errors": [{"message": "a"}]}, "a"),
        ({"error_code": 336003, "error_msg": "a"}, "a"),
        ({"error": {"msg": "a"}}, "a"),
        ([{"error": {"message": "a"}}], "a"),
        ("a", "a"),
    ],
)
def test_the_message_of_an_error_body(body: Any, message: str) -> None:
    """Wherever a server says what was wrong with a request, its caller reads it."""
    found = error_of(body)
    assert found is not None
    assert found["message"] == message
    assert fault(400, {}, json.dumps(body).encode()).error.message == message


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"},
        {"type": "ping"},
        {"type": "status", "message": "searching"},
        {"error": None},
        {"error": {}},
        {"error": ""},
        {"error": False},
        {"errors": []},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"prompt_filter_results": [{"prompt_index": 0}]},
        {},
    ],
)
def test_what_is_no_error(fields: dict[str, Any]) -> None:
    """Pings, notices, verdicts and errors that say nothing are none."""
    assert error_in(fields) is None
    assert bare_error(fields) is None


@pytest.mark.parametrize("value", [[], {}, [[]], {"a": {"b": []}}, 1.5, None, True, "x" * 10_000])
@pytest.mark.parametrize("name", ["code", "type", "message", "param", "status", "error"])
def test_any_value_anywhere(name: str, value: Any) -> None:
    """Whatever stands in which field of an error, there is a fault with a message."""
    for error in ({name: value}, {"error": {name: value}}, [{name: value}]):
        for status in (400, 404, 429, 500):
            assert fault(status, {}, json.dumps(error).encode()).error.message
        assert event_fault(error).error.message
