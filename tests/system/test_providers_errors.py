"""Owns each family's errors by status over the whole path: what the caller is told, and which account is asked next."""

import time
from typing import Any

import httpx
import pytest
from msgspec import Struct

from tests.fakes import anthropic, gemini
from tests.fakes.families import PROVIDERS, TITAN, UPSTREAMS, config, model_toml, pool_toml, stages
from tests.fakes.stages import Error
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hello"}]
SECRETS = ("123456789012", "arn:aws", "AKIDEXAMPLE", "sk-ant-api03", "sk-upstream", "AIzaCanary")
LIVE_S = 2.0  # how soon `/v1/models` follows


class Case(Struct, frozen=True):
    """An error, what the caller is told of it, and what becomes of the account that gave it.

    `then` is "stop" (no other account is asked), "next" (another is, and this one again next time: what one key's calls
    met is no proof) or "away" (this key's calls leave this one alone for a while).
    """

    error: Error
    told: tuple[int, str, str | None]  # status, type, code
    then: str
    retry_after: str | None = None  # None: any, or none


BAD, LIMITED, SERVER, AWAY = (
    "invalid_request_error",
    "rate_limit_error",
    "server_error",
    "service_unavailable_error",
)
AUTH = (502, SERVER, "upstream_auth")
FAILED = (502, SERVER, "upstream_error")
LATE = (504, SERVER, "upstream_timeout")
BUSY = (503, AWAY, "server_is_overloaded")
SLOW = (429, LIMITED, "rate_limit_exceeded")
SPENT = (503, AWAY, "upstream_quota")
GONE = (404, BAD, "model_not_found")


def openai(status: int, code: str | None = None, **headers: str) -> Error:
    """An error of OpenAI's."""
    body = {"error": {"message": "no sk-upstream-x1y2z3a4b5c6", "type": "x", "param": None, "code": code}}
    return Error(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def claude(status: int, kind: str, message: str = "no", headers: Any = None, **details: Any) -> Error:
    """An error of Anthropic's."""
    return Error(status, anthropic.error_body(kind, message, **details), headers or {})


def google(status: int, name: str, message: str = "no", *details: Any) -> Error:
    """An error of Google's."""
    return Error(status, gemini.error_body(status, name, message, *details))


def aws(name: str, message: str = "no arn:aws:bedrock:us-east-1:123456789012:x/y") -> Error:
    """An error of AWS's."""
    return Error(0, message, {}, name)


def retry_info(delay: str) -> dict[str, str]:
    """When to come back, as Google says it."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


DAILY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
CASES: dict[str, dict[str, Case]] = {
    "openai": {
        "invalid": Case(openai(400, "invalid_value"), (400, BAD, "invalid_value"), "stop"),
        "key": Case(openai(401, "invalid_api_key"), AUTH, "away"),
        "forbidden": Case(openai(403), AUTH, "next"),
        "gone": Case(openai(404, "model_not_found"), GONE, "next"),
        "large": Case(openai(413), (413, BAD, None), "stop"),
        "limited": Case(openai(429, "rate_limit_exceeded", retry_after="7"), SLOW, "away", "7"),
        "spent": Case(openai(429, "insufficient_quota"), SLOW, "away"),
        "failed": Case(openai(500), FAILED, "next"),
        "busy": Case(openai(503), BUSY, "next"),
        "late": Case(openai(504), LATE, "next"),
    },
    "anthropic": {
        "invalid": Case(claude(400, "invalid_request_error"), (400, BAD, None), "stop"),
        "long": Case(
            claude(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            (400, BAD, "context_length_exceeded"),
            "stop",
        ),
        "key": Case(claude(401, "authentication_error", "bad sk-ant-api03-abcdefghijkl"), AUTH, "away"),
        "spent": Case(claude(402, "billing_error"), SPENT, "away"),
        "forbidden": Case(claude(403, "permission_error"), AUTH, "next"),
        "gone": Case(claude(404, "not_found_error", "model: claude-x"), GONE, "next"),
        "large": Case(claude(413, "request_too_large"), (413, BAD, "request_too_large"), "stop"),
        "limited": Case(claude(429, "rate_limit_error", headers={"retry-after": "7"}), SLOW, "away", "7"),
        "capped": Case(
            claude(429, "rate_limit_error", error_code="enforced_spend_limit_reached"), SPENT, "away"
        ),
        "failed": Case(claude(500, "api_error"), FAILED, "next"),
        "late": Case(claude(504, "timeout_error"), LATE, "next"),
        "busy": Case(claude(529, "overloaded_error"), BUSY, "next"),
    },
    "gemini": {
        "invalid": Case(google(400, "INVALID_ARGUMENT"), (400, BAD, None), "stop"),
        "key": Case(
            google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), AUTH, "away"
        ),
        "region": Case(google(400, "FAILED_PRECONDITION"), SPENT, "away"),
        "unpaid": Case(google(402, "RESOURCE_EXHAUSTED"), SPENT, "away"),
        "forbidden": Case(google(403, "PERMISSION_DENIED"), AUTH, "next"),
        "gone": Case(google(404, "NOT_FOUND"), GONE, "next"),
        "limited": Case(
            google(429, "RESOURCE_EXHAUSTED", "no", retry_info("6.137906927s")), SLOW, "away", "7"
        ),
        "daily": Case(google(429, "RESOURCE_EXHAUSTED", "no", DAILY), SLOW, "away"),
        "failed": Case(google(500, "INTERNAL"), FAILED, "next"),
        "busy": Case(google(503, "UNAVAILABLE"), BUSY, "next"),
        "late": Case(google(504, "DEADLINE_EXCEEDED"), LATE, "next"),
    },
    "bedrock": {
        "invalid": Case(aws("ValidationException"), (400, BAD, None), "stop"),
        "key": Case(aws("UnrecognizedClientException"), AUTH, "away"),
        "forbidden": Case(aws("AccessDeniedException"), AUTH, "next"),
        "gone": Case(aws("ValidationException", "The provided model identifier is invalid."), GONE, "next"),
        "ended": Case(
            aws("ResourceNotFoundException", "This model version has reached the end of its life."),
            GONE,
            "next",
        ),
        "limited": Case(aws("ThrottlingException"), SLOW, "away", "1"),
        "quota": Case(aws("ServiceQuotaExceededException"), SLOW, "away", "30"),
        "loading": Case(aws("ModelNotReadyException"), (503, AWAY, "model_not_ready"), "next", "5"),
        "late": Case(aws("ModelTimeoutException"), LATE, "next"),
        "failed": Case(aws("ModelErrorException"), FAILED, "next"),
        "internal": Case(aws("InternalServerException"), FAILED, "next"),
        "busy": Case(aws("ServiceUnavailableException"), BUSY, "next"),
    },
}
NAMES = [(provider, name) for provider, cases in CASES.items() for name in cases]


@pytest.fixture(scope="module")
def played():
    """Two fakes of each provider."""
    with stages(2) as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with a pool of two accounts, one on each fake, for every case."""
    text = config(played)
    for provider, name in NAMES:
        pool = f"{provider}-{name}"
        text += pool_toml(pool, provider, [stage.account for stage in played[provider]])
        text += model_toml(pool, pool, UPSTREAMS[provider], 'successor = "a-newer-one"\n')
    for provider in PROVIDERS:
        account = played[provider][0].account
        wrong = account.replace('_key = "', '_key = "wrong')
        for way in ("plain", "stream"):
            pool = f"{provider}-wrong-{way}"
            text += pool_toml(pool, provider, [wrong]) + model_toml(pool, pool, UPSTREAMS[provider])
    text += pool_toml("bedrock-lost", "bedrock", [stage.account for stage in played["bedrock"]])
    text += model_toml("bedrock-lost", "bedrock-lost", TITAN, 'successor = "a-newer-one"\n')
    with Tokn(tmp_path_factory.mktemp("errors") / "data", text) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def both(tokn, http):
    """That client, and one with another key."""
    key = tokn.row("key", "create", "--name", "other", "--balance", "5")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as other:
        yield http, other


def ask(http: httpx.Client, model: str, *, stream: bool) -> httpx.Response:
    """One call."""
    return http.post("/v1/chat/completions", json={"model": model, "messages": SAY, "stream": stream})


def check_told(answer: httpx.Response, case: Case) -> None:
    """The caller has the status, type and code of the case, when to come back, and none of our secrets."""
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == case.told, error
    if case.retry_after is not None:
        assert 0 < float(answer.headers["retry-after"]) <= float(case.retry_after)
    if answer.status_code in (429, 502, 503, 504):
        assert "retry-after" in answer.headers or answer.headers.get("x-should-retry") == "false"
    assert not [secret for secret in SECRETS if secret in answer.text]


@pytest.mark.parametrize(("provider", "name"), NAMES)
def test_errors_by_status(played, http, provider, name):
    """An account's error is another's turn, unless no other could help; when all fail, the caller learns what the error means."""
    case = CASES[provider][name]
    first, second = played[provider]
    model = f"{provider}-{name}"
    counts = len(first.bodies), len(second.bodies)

    first.fail(case.error)
    answer = ask(http, model, stream=False)
    assert len(first.bodies) == counts[0] + 1
    if case.then == "stop":
        check_told(answer, case)
        assert len(second.bodies) == counts[1]
        first.fail(case.error)
        check_told(ask(http, model, stream=True), case)
        return
    assert answer.status_code == 200, answer.text
    assert len(second.bodies) == counts[1] + 1

    first.fail(case.error)
    second.fail(case.error)
    answer = ask(http, model, stream=True)
    first.forget()
    second.forget()
    check_told(answer, case)
    assert len(first.bodies) - counts[0] == (2 if case.then == "next" else 1)
    assert len(second.bodies) - counts[1] == 2
    if case.told == GONE:
        assert "a-newer-one" in answer.json()["error"]["message"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("way", ["plain", "stream"])
def test_our_own_bad_key_is_never_the_callers(tokn, http, provider, way):
    """Credentials that the provider itself refuses (a wrong key, a wrong signature) are a 502, and `tokn pools` says so."""
    name = f"{provider}-wrong-{way}"
    answer = ask(http, name, stream=way == "stream")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == AUTH
    assert "retry-after" in answer.headers
    # A worker that this machine kept waiting beyond its beat serves nothing either, for the moment.
    pool = wait_for(
        lambda: next(
            (
                row
                for row in tokn.rows("pools")
                if row["name"] == name and [one["state"] for one in row["accounts"]] == ["refused"]
            ),
            None,
        ),
        10,
        f"the account of {name} is shown as refused",
    )
    assert pool["models"] == []
    assert "refused" in pool["missing"][name]
    if way == "plain":
        told = tokn.run("models", "explain", name)
        assert told.returncode == 1
        assert "can serve it now" in told.stdout
        assert "is refused (" in told.stdout


@pytest.mark.parametrize(
    ("provider", "model"), [*((provider, provider) for provider in PROVIDERS), ("bedrock", "bedrock-lost")]
)
def test_a_model_that_is_gone_leaves_the_list(played, tokn, both, provider, model):
    """The provider's own word that a model is gone is a 404; once two keys met it, the list drops it within 2 s, and says why."""
    http = both[0]
    before = http.get("/v1/models")
    entry = f'"id":"{model}",'.encode()  # in megabytes that a client decodes for a while
    assert entry in before.content
    for stage in played[provider]:
        stage.lose(TITAN if model == "bedrock-lost" else UPSTREAMS[provider])
    for client in both:
        answer = ask(client, model, stream=False)
        assert answer.status_code == 404
    began = time.monotonic()

    def left() -> bool:
        shown = http.get("/v1/models", headers={"If-None-Match": before.headers["etag"]})
        return shown.status_code == 200 and entry not in shown.content

    wait_for(left, LIVE_S, f"{model} leaves the list")
    assert time.monotonic() - began < LIVE_S
    again = http.get(f"/v1/models/{model}")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "model_not_found")
    answer = ask(http, model, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert answer.json()["error"]["param"] == "model"
    (pool,) = [row for row in tokn.rows("pools") if row["name"] == model]
    assert "gone" in pool["missing"][model]
    assert model not in pool["models"]
    told = tokn.run("models", "explain", model)
    assert (told.returncode, told.stdout.splitlines()[1]) == (1, answer.json()["error"]["message"])
