import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.settings.settings import AccountSettings
from tests.fakes.worker import until
from workers.providers.base import Action
from workers.providers.bedrock.family import Bedrock

ARN = "arn:aws:iam::123456789012:user/tokn-prod"


def fault(name: str, status: int, message: str = "why"):
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return Bedrock().fault(status, headers, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    "row",
    [
        ("ThrottlingException", 429, "Too many requests", 429, "rate_limit_exceeded", Action.COOL),
        ("ModelNotReadyException", 429, "loading", 503, "model_not_ready", Action.NEXT),
        ("ServiceQuotaExceededException", 400, "quota", 429, "rate_limit_exceeded", Action.COOL),
        ("ModelTimeoutException", 408, "slow", 504, "upstream_timeout", Action.NEXT),
        ("ModelErrorException", 424, "model", 502, "upstream_error", Action.NEXT),
        ("ModelStreamErrorException", 424, "model", 502, "upstream_error", Action.NEXT),
        ("InternalServerException", 500, "oops", 502, "upstream_error", Action.NEXT),
        ("ServiceUnavailableException", 503, "busy", 503, "server_is_overloaded", Action.NEXT),
        ("ValidationException", 400, "messages.0: bad", 400, None, Action.STOP),
        (
            "ValidationException",
            400,
            "Input is too long for requested model.",
            400,
            "context_length_exceeded",
            Action.STOP,
        ),
        (
            "ValidationException",
            400,
            "The provided model identifier is invalid.",
            404,
            "model_not_found",
            Action.GONE,
        ),
        (
            "ValidationException",
            400,
            "Invocation of model ID x with on-demand throughput isn't supported.",
            502,
            "upstream_error",
            Action.NEXT,
        ),
        (
            "ResourceNotFoundException",
            404,
            "This model version has reached the end of its life.",
            404,
            "model_not_found",
            Action.GONE,
        ),
        (
            "ResourceNotFoundException",
            404,
            "Access denied. This Model is marked by provider as Legacy and you have not been actively using it.",
            404,
            "model_not_found",
            Action.NEXT,
        ),
        (
            "AccessDeniedException",
            403,
            "You don't have access to the model with that ID.",
            502,
            "upstream_auth",
            Action.DENIED,
        ),
        (
            "AccessDeniedException",
            403,
            f"User: {ARN} is not authorized",
            502,
            "upstream_auth",
            Action.REFUSED,
        ),
        ("UnrecognizedClientException", 403, "invalid token", 502, "upstream_auth", Action.REFUSED),
        ("InvalidSignatureException", 403, "does not match", 502, "upstream_auth", Action.REFUSED),
        ("ExpiredTokenException", 403, "expired", 502, "upstream_auth", Action.REFUSED),
        ("", 413, "large", 413, "request_too_large", Action.STOP),
        ("SomethingNew", 418, "tea", 502, "upstream_error", Action.NEXT),
        ("SomethingNew", 503, "tea", 503, "server_is_overloaded", Action.NEXT),
    ],
)
def test_errors_by_name(row):
    """To the caller's status and code, and to what to do: 424 never reaches an SDK, nor does our own 403 (C33)."""
    name, status, message, told, code, action = row
    found = fault(name, status, message)
    assert (found.error.status, found.error.code, found.action) == (told, code, action)
    assert found.unbilled
    if told in (429, 502, 503, 504):
        assert found.error.retry_after_s is not None
    if action is Action.COOL:
        assert found.cool_s is not None
        assert found.cool_s > 0


def test_the_name_may_stand_in_the_body():
    """Signature errors come from in front of Bedrock, in coral's own form."""
    body = json.dumps(
        {"__type": "com.amazon.coral.service#UnrecognizedClientException", "Message": "x"}
    ).encode()
    assert Bedrock().fault(403, {}, body).action is Action.REFUSED


@given(status=st.integers(300, 599), body=st.binary(max_size=200), name=st.text(max_size=20))
def test_no_answer_is_too_odd_to_be_judged(status, body, name):
    """Whatever comes, it is an error of the closed table, and never the caller's 401 or 403."""
    found = Bedrock().fault(status, {"x-amzn-errortype": name}, body)
    assert found.error.status in (400, 404, 413, 429, 502, 503, 504)


@pytest.mark.parametrize("secret", [ARN, "123456789012", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_what_names_our_account_does_not_reach_the_caller(secret):
    """ARNs, account ids and keys are taken out of what Bedrock says."""
    for name, status in (
        ("ValidationException", 400),
        ("AccessDeniedException", 403),
        ("ThrottlingException", 429),
    ):
        found = fault(name, status, f"The request of {secret} is bad.")
        assert secret not in found.error.message
    kept = fault("ValidationException", 400, f"temperature: 3 is too high for {secret}")
    assert "temperature: 3 is too high" in kept.error.message


async def test_expired_credentials_of_a_chain_are_looked_up_again(tmp_path, monkeypatch):
    """The account rests for the moment that takes; one with keys of its own is refused for good."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIDONE\naws_secret_access_key = s\n"
    )
    family = Bedrock()
    account = AccountSettings(id="a", region="us-east-1")
    await family.prepare([account])
    assert family._credentials.credentials(account).access_key == "AKIDONE"
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIDTWO\naws_secret_access_key = s\n"
    )
    found = family.fault(403, {"x-amzn-errortype": "ExpiredTokenException"}, b"{}")
    assert found.action is Action.COOL
    assert found.cool_s is not None
    await until(lambda: family._credentials.credentials(account).access_key == "AKIDTWO", "the new key")
    family._credentials.close()
