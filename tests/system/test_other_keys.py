"""Owns what one caller's bad luck does to others: nothing. Two keys, the official SDK, upstream answers in raw bytes."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from schemas.catalogue.builtin import SANDBOX_MODEL
from tests.fakes.anthropic import error_body
from tests.fakes.families import model_toml
from tests.fakes.stages import AnthropicStage, Error
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.upstream import API_KEY, SCRIPTED, Upstream
from workers.calls.condition import FAILURES_BEFORE_COOLING

pytestmark = pytest.mark.system

SAY: Any = [{"role": "user", "content": "hello"}]
ACCOUNTS = 3
CASES = ("denied", "flagged", "unlisted", "slow", "large", "gone", "broken", "unclear")
LIVE_S = 5.0

# As providers sent them: each is what public reports tell of.
DENIED = (
    b'{"error": {"message": "Project `proj_x` does not have access to model `denied`", '
    b'"type": "invalid_request_error", "param": null, "code": "model_not_found"}}'
)
FLAGGED = (
    b'{"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}}'
)
UNLISTED = (
    b'{"error": {"message": "No allowed providers are available for the selected model.", "code": 404}}'
)
SLOW = (
    b'{"error": {"message": "Rate limit reached for a", "type": "rate_limit_error", '
    b'"code": "rate_limit_exceeded"}}'
)
LARGE = (
    b'{"error": {"message": "Request too large for gpt-4o in organization org-x on tokens per min (TPM): '
    b'Limit 30000, Requested 64000.", "type": "tokens", "param": null, "code": "rate_limit_exceeded"}}'
)
GONE = b'{"error": {"message": "The model `x` does not exist", "type": "x", "param": null, "code": "model_not_found"}}'
BROKEN = b'{"error": {"message": "oops", "type": "server_error", "param": null, "code": null}}'
UNCLEAR = b"<html><body>Forbidden</body></html>"


def toml(base_url: str, claude: str) -> str:
    """A pool of three accounts and one of a single account, with a model for each case and one beside them; and Claude."""
    text = ""
    for pool, count in (("wide", ACCOUNTS), ("alone", 1)):
        text += f'[pools.{pool}]\nprovider = "openai"\n{SCRIPTED}'
        for number in range(count):
            text += f'[[pools.{pool}.accounts]]\nid = "a{number}"\napi_key = "{API_KEY}"\n'
            text += f'base_url = "{base_url}/{pool}/a{number}"\n'
        text += "".join(model_toml(f"{pool}-{name}", pool, name) for name in (*CASES, "b"))
    text += f'[pools.claude]\nprovider = "anthropic"\n[[pools.claude.accounts]]\nid = "a0"\n{claude}'
    for name, upstream in (("claude-a", "claude-sonnet-4-5"), ("claude-b", "claude-opus-4-5")):
        text += model_toml(name, "claude", upstream)
    return text


@pytest.fixture(scope="module")
def claude() -> Iterator[AnthropicStage]:
    """A fake Anthropic."""
    with AnthropicStage() as stage:
        yield stage


@pytest.fixture(scope="module")
def tokn(upstream: Upstream, claude: AnthropicStage, tmp_path_factory: Any) -> Iterator[Tokn]:
    """One deployment for all cases."""
    text = toml(f"http://127.0.0.1:{upstream.port}", claude.account)
    with Tokn(tmp_path_factory.mktemp("others") / "data", text) as running:
        yield running
        assert running.audit()["ok"] is True


class Caller:
    """One key with the official SDK, which retries as it does by default."""

    def __init__(self, tokn: Tokn, key: str) -> None:
        self.client = openai.OpenAI(api_key=key, base_url=f"{tokn.url}/v1", timeout=60)

    def close(self) -> None:
        """Lets go of its connections."""
        self.client.close()

    def served(self, model: str) -> None:
        """Its call is answered at the first try."""
        answer = self.client.with_options(max_retries=0).chat.completions.create(model=model, messages=SAY)
        assert answer.choices[0].message.content

    def provokes(self, model: str, status: int, body: bytes, retry_after: str = "") -> openai.APIStatusError:
        """Its call has the upstream answer with these bytes, each time that it asks; the error that it sees."""
        script = {"status": status, "raw": body.decode(), "retry_after": retry_after}
        return self.refused(model, extra_body={"x_script": script})

    def refused(self, model: str, **more: Any) -> openai.APIStatusError:
        """The error of a call."""
        with pytest.raises(openai.APIStatusError) as caught:
            self.client.chat.completions.create(model=model, messages=SAY, **more)
        return caught.value

    def once(self) -> "Caller":
        """The same without the SDK's own retries."""
        twin = object.__new__(Caller)
        twin.client = self.client.with_options(max_retries=0)
        return twin

    def models(self) -> set[str]:
        """What the list shows."""
        return {model.id for model in self.client.models.list()}


@pytest.fixture(scope="module")
def callers(tokn: Tokn) -> Iterator[list[Caller]]:
    """Three keys."""
    with contextlib.ExitStack() as stack:
        made = [
            tokn.row("key", "create", "--name", f"k{number}", "--balance", "50")["key"] for number in "123"
        ]
        yield [stack.enter_context(contextlib.closing(Caller(tokn, key))) for key in made]


def out_of_use(tokn: Tokn, pool: str, model: str) -> list[dict[str, Any]]:
    """What `tokn pools` says of one model at each account of a pool."""
    (row,) = [row for row in tokn.rows("pools") if row["name"] == pool]
    return [one for account in row["accounts"] for one in account["models"] if one["id"] == model]


def states(tokn: Tokn, pool: str) -> set[str]:
    """The states of a pool's accounts; "unknown" before a worker has told them, as it does each second."""
    (row,) = [row for row in tokn.rows("pools") if row["name"] == pool]
    return {account["state"] for account in row["accounts"]}


def test_no_access_to_a_model(tokn, upstream, callers):
    """403 about a model: each account is asked once; another model, and another key, are served at once."""
    one, two, _ = callers
    before = len(upstream.calls)
    error = one.once().provokes("wide-denied", 403, DENIED)
    assert (error.status_code, error.code) == (502, "upstream_auth")
    assert len({call.path for call in upstream.calls[before:]}) == ACCOUNTS
    assert len(upstream.calls) == before + ACCOUNTS
    one.once().provokes("alone-denied", 403, DENIED)
    for pool in ("wide", "alone"):
        two.served(f"{pool}-denied")
        two.served(f"{pool}-b")
        one.served(f"{pool}-b")
        assert f"{pool}-denied" in two.models()
    for pool in ("wide", "alone"):
        assert wait_for(lambda pool=pool: states(tokn, pool) - {"unknown"}, 10, "a worker has told") == {"ok"}


def test_an_input_that_is_flagged(upstream, callers):
    """403 about an input: that caller's error, with its reason; no other account is asked, and nobody loses anything."""
    one, two, _ = callers
    for pool in ("wide", "alone"):
        before = len(upstream.calls)
        error = one.provokes(f"{pool}-flagged", 403, FLAGGED)
        assert isinstance(error, openai.BadRequestError)
        assert (error.code, "Your input was flagged" in error.message) == ("content_policy_violation", True)
        assert len(upstream.calls) == before + 1
        for caller in (one, two):
            caller.served(f"{pool}-flagged")


@pytest.mark.parametrize("pool", ["wide", "alone"])
def test_a_refusal_that_does_not_say_why(callers, pool):
    """A 403 of an unknown kind, such as a firewall's page, takes nothing from another key."""
    one, two, _ = callers
    assert one.once().provokes(f"{pool}-unclear", 403, UNCLEAR).status_code == 502
    two.served(f"{pool}-unclear")
    two.served(f"{pool}-b")
    one.served(f"{pool}-unclear")


def test_a_404_that_speaks_of_a_model(upstream, callers):
    """Without the code for a model that is gone it is the caller's own error, and the model stays."""
    one, two, _ = callers
    before = len(upstream.calls)
    error = one.provokes("wide-unlisted", 404, UNLISTED)
    assert isinstance(error, openai.NotFoundError)
    assert "No allowed providers are available for the selected model." in error.message
    assert len(upstream.calls) == before + 1
    for caller in (two, one):
        caller.served("wide-unlisted")
    assert "wide-unlisted" in two.models()


def test_a_model_that_one_key_finds_gone(tokn, upstream, callers):
    """One key's 404 closes nothing for another; when two keys met it at every account, it is a 404 for all, and says so."""
    one, two, three = callers
    for _ in range(2):
        assert one.provokes("alone-gone", 404, GONE).code == "model_not_found"
        two.served("alone-gone")
    one.provokes("alone-gone", 404, GONE)
    assert isinstance(two.provokes("alone-gone", 404, GONE), openai.NotFoundError)
    before = len(upstream.calls)
    assert isinstance(three.refused("alone-gone"), openai.NotFoundError)
    assert len(upstream.calls) == before
    three.served("alone-b")
    wait_for(lambda: "alone-gone" not in three.models(), LIVE_S, "the model leaves the list")
    (told,) = out_of_use(tokn, "alone", "gone")
    assert (told["state"], told["for_all"], told["workers"]) == ("gone", True, 1)
    assert told["until"] > time.time()
    assert told["reason"]
    assert "Models out of use at an account" in tokn.run("pools").stdout


def test_a_limit_of_one_model(tokn, upstream, callers):
    """429 of one model: that model waits for its time at that account, the other is served at once, and so is the other key."""
    one, two, _ = callers
    error = one.once().provokes("alone-slow", 429, SLOW, "20")
    assert isinstance(error, openai.RateLimitError)
    assert 0 < float(error.response.headers["retry-after"]) <= 20
    before = len(upstream.calls)
    again = one.once().refused("alone-slow")
    assert isinstance(again, openai.RateLimitError)
    assert 0 < float(again.response.headers["retry-after"]) <= 20
    assert len(upstream.calls) == before
    one.served("alone-b")
    for model in ("alone-slow", "alone-b"):
        two.served(model)
    told = wait_for(lambda: out_of_use(tokn, "alone", "slow"), LIVE_S, "it is shown")
    assert [(one["state"], one["for_all"]) for one in told] == [("cooling", False)]
    assert two.once().provokes("alone-slow", 429, SLOW, "20").status_code == 429
    before = len(upstream.calls)
    assert callers[2].once().refused("alone-slow").status_code == 429
    assert len(upstream.calls) == before
    callers[2].served("alone-b")


def test_a_limit_of_one_model_of_claude(claude, callers):
    """The same at a translated family."""
    one, two, _ = callers
    limited = Error(429, error_body("rate_limit_error", "Rate limit reached for a"), {"retry-after": "20"})
    claude.fail(limited)
    error = one.once().refused("claude-a")
    assert isinstance(error, openai.RateLimitError)
    assert 0 < float(error.response.headers["retry-after"]) <= 20
    asked = len(claude.bodies)
    assert one.once().refused("claude-a").status_code == 429
    assert len(claude.bodies) == asked
    one.served("claude-b")
    two.served("claude-a")


@pytest.mark.parametrize("pool", ["wide", "alone"])
def test_a_request_that_is_too_large(upstream, callers, pool):
    """The caller's error with its reason, asked for once and not retried; a small call right after is served at once."""
    one, two, _ = callers
    before = len(upstream.calls)
    error = one.provokes(f"{pool}-large", 429, LARGE)
    assert error.status_code == 413
    assert error.code == "request_too_large"
    assert "Limit 30000, Requested 64000." in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert len(upstream.calls) == before + 1
    one.served(f"{pool}-large")
    two.served(f"{pool}-large")


def test_failures_in_a_row(callers):
    """However often one key's call fails, the model stays for another."""
    one, two, _ = callers
    for _ in range(2 * FAILURES_BEFORE_COOLING):
        assert one.once().provokes("alone-broken", 500, BROKEN).status_code == 502
    two.served("alone-broken")
    one.served("alone-broken")


@pytest.mark.parametrize(
    ("model", "variable"),
    [("amazon.titan-text-express-v1", "AWS_ACCESS_KEY_ID"), ("gemini-1.5-pro-latest", "GEMINI_API_KEY")],
)
def test_a_pool_that_is_not_configured(callers, model, variable):
    """404 that says which credential to set and what needs none; no SDK retries it, by call or in the list."""
    ask: list[Callable[[], Any]] = [
        lambda: callers[0].client.chat.completions.create(model=model, messages=SAY),
        lambda: callers[0].client.models.retrieve(model),
    ]
    for call in ask:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        error = caught.value
        assert (error.code, error.param) == ("model_not_found", "model")
        assert variable in error.message
        assert SANDBOX_MODEL in error.message
        assert error.response.headers["x-should-retry"] == "false"
        assert json.loads(error.response.text)["error"]["type"] == "invalid_request_error"
