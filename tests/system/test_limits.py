"""Rate limits over the whole path: what official SDKs see of them, in each protocol, plain and streamed."""

import time
from collections.abc import Iterator

import openai
import pytest

from schemas import keys
from tests.fakes.node import NodeSdk
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 30\n'
SAY = [{"role": "user", "content": "hello"}]
MODEL = "tokn-sandbox"


@pytest.fixture(scope="module")
def tokn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokn]:
    """`tokn up` with the sandbox, whose answers take their time."""
    with Tokn(tmp_path_factory.mktemp("limits") / "data", SANDBOX) as made:
        yield made


def _limited(tokn: Tokn, *options: str) -> str:
    """A key with limits."""
    row = tokn.row("key", "create", "--balance", "5")
    tokn.row("limits", str(row["id"]), *options)
    return str(row["key"])


def _client(tokn: Tokn, key: str, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{tokn.url}/v1", max_retries=retries, timeout=60)


def test_headers_and_the_refusal(tokn: Tokn) -> None:
    """Each answer says what is left; at the limit the SDKs raise their own class with message, type and wait."""
    import anthropic  # noqa: PLC0415  three seconds for each process that collects the tests, used or not

    key = _limited(tokn, "--rpm", "3", "--tpm", "100000")
    with _client(tokn, key) as client:
        answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[call-overload]  plain dicts
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == "2"
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 100_000
        with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=SAY, max_tokens=5, stream=True
        ) as stream:  # type: ignore[call-overload]  as above
            assert stream.headers["x-ratelimit-remaining-requests"] == "1"
            assert "[DONE]" in stream.read().decode()
        claude = anthropic.Anthropic(api_key=key, base_url=tokn.url, max_retries=0, timeout=60)
        with claude:
            message = claude.messages.with_raw_response.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[arg-type]  as above
            assert message.headers["anthropic-ratelimit-requests-remaining"] == "0"
            with pytest.raises(anthropic.RateLimitError) as theirs:
                claude.messages.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[arg-type]  as above
        assert "rate_limit_error" in str(theirs.value.body)
        assert theirs.value.response.headers["anthropic-ratelimit-requests-limit"] == "3"
        with pytest.raises(openai.RateLimitError) as found:
            client.chat.completions.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[call-overload]  as above
    error = found.value
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
    assert "on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in " in error.message
    assert 0 < int(error.response.headers["retry-after"]) <= 61
    assert 0 < int(error.response.headers["retry-after-ms"]) <= 61_000
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_sdks_try_again(tokn: Tokn) -> None:
    """While a stream runs a second call is refused for a second, and both SDKs get it through once the stream is over."""
    key = _limited(tokn, "--in-flight", "1")
    with _client(tokn, key) as once, _client(tokn, key, retries=60) as patient, NodeSdk(tokn.url) as node:
        stream = once.chat.completions.create(model=MODEL, messages=SAY, max_tokens=60, stream=True)  # type: ignore[call-overload]  as above
        next(stream)
        with pytest.raises(openai.RateLimitError, match="calls in flight: Limit 1, Used 1"):
            once.chat.completions.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[call-overload]  as above
        answer = patient.chat.completions.with_raw_response.create(model=MODEL, messages=SAY, max_tokens=5)  # type: ignore[call-overload]  as above
        assert answer.retries_taken > 0
        assert list(stream)
        body = {"model": MODEL, "messages": SAY, "max_tokens": 5}
        assert node.call("chat", body, key)["ok"]["choices"]


def test_a_call_that_can_never_fit(tokn: Tokn) -> None:
    """A call larger than a minute's tokens is refused with the word that no client tries it again."""
    key = _limited(tokn, "--tpm", "10")
    with _client(tokn, key, retries=5) as client, pytest.raises(openai.RateLimitError) as found:
        client.chat.completions.create(model=MODEL, messages=SAY * 40, max_tokens=50)  # type: ignore[call-overload]  as above
    assert found.value.type == "tokens"
    assert "Request too large for key " in found.value.message
    assert found.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in found.value.response.headers


def test_the_command(tokn: Tokn) -> None:
    """Limits are shown, set one by one and cleared; what is no limit is refused in one sentence."""
    key_id = str(tokn.row("key", "create")["id"])
    assert tokn.row("limits", key_id, "--rpm", "5", "--in-flight", "2")["requests_per_minute"] == 5
    row = tokn.row("limits", key_id, "--rpm", "none", "--tpm", "7")
    assert (row["requests_per_minute"], row["tokens_per_minute"], row["in_flight"]) == (None, 7, 2)
    assert tokn.row("limits", "--organization", "default", "--rpm", "1000000")["id"] == "default"
    assert tokn.row("limits", "--organization", "default", "--rpm", "none")["requests_per_minute"] is None
    for options in (("--rpm", "0"), ("--tpm", "-1"), ("--in-flight", "many")):
        refused = tokn.run("limits", key_id, *options)
        assert refused.returncode == 2
    assert tokn.run("limits", "nobody", "--rpm", "1").returncode == 1
    assert tokn.run("limits", "--rpm", "1").returncode == 1
    assert tokn.audit()["ok"]


def test_a_key_is_made_with_its_bounds(tokn: Tokn) -> None:
    """One command makes a key with limits, caps and an end; the same again, later, is the same key and the same end."""
    bounds = ("--rpm", "60", "--tpm", "40000", "--in-flight", "4", "--cap", "day=5", "--expires", "90d")
    fresh = keys.generate()
    words = ("key", "create", "--balance", "5", *bounds, "--idempotency-key", "once", "--key", fresh)
    made = tokn.row(*words)
    assert made["key"] == fresh
    limits = {"requests_per_minute": 60, "tokens_per_minute": 40_000, "in_flight": 4}
    assert (made["limits"], made["expires_at"] - made["created"]) == (limits, 90 * 86_400)
    assert tokn.row("limits", made["id"]) == {"id": made["id"], **limits}
    assert [row["limit_nano"] for row in tokn.rows("cap", "list", "--key", made["id"])] == [5_000_000_000]
    wait_for(lambda: time.time() > made["created"] + 1, 10, "a second later")
    assert tokn.row(*words) == made
    longer = ("key", "update", made["id"], "--expires", "120d", "--idempotency-key", "longer")
    moved = tokn.row(*longer)
    wait_for(lambda: time.time() > moved["expires_at"] - 120 * 86_400 + 1, 10, "a second later")
    assert tokn.row(*longer) == moved
    other = tokn.run(*longer[:-3], "121d", *longer[-2:])
    assert (other.returncode, "idempotency_mismatch" in other.stderr) == (1, True)
    for wrong in (
        ("--rpm", "0"),
        ("--tpm", "-1"),
        ("--in-flight", "many"),
        ("--expires", "0"),
        ("--expires", "soon"),
    ):
        assert tokn.run("key", "create", *wrong).returncode == 2
    assert tokn.audit()["ok"]
