"""Owns streams that break under way, of every family over the whole path: an error, never a clean end or a hole, billed by rule."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import structs

from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes.dialects import Answer
from tests.fakes.estimated import asked_tokens, output_tokens
from tests.fakes.families import PROVIDERS, UPSTREAMS, by_hand, config, stages
from tests.fakes.receipts import receipt
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

# A text and a call whose arguments come in pieces, so that a hole in either would show.
ANSWER = Answer(
    ("The quick brown ", "fox jumps ", "over."),
    TokenUsage(input=40, cached=5, output=33),
    (("call_1", "jump", {"height": "two metres, and a bit"}),),
)
MESSAGES = b'[{"role":"user","content":"%s"}]' % (b"hello " * 30)
BODY = b'{"messages":%b,"stream":true,"stream_options":{"include_usage":true},"model":"%b"}'
CUT = {
    "message": "The upstream provider's answer ended before it was complete. Retry with backoff.",
    "type": "server_error",
    "param": None,
    "code": "upstream_error",
}
every_family = pytest.mark.parametrize("provider", PROVIDERS)


class Seen(msgspec.Struct):
    """What a caller had of a stream."""

    request_id: str
    content: str = ""
    arguments: str = ""
    finish: str = ""
    error: dict[str, Any] | None = None
    done: bool = False
    usage: Any = None


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all four families."""
    with Tokn(tmp_path_factory.mktemp("cuts") / "data", config(played)) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        yield client


def stream(http: httpx.Client, provider: str) -> Seen | httpx.Response:
    """One streamed call, read to its end; the answer itself if it was no stream."""
    answer = http.post("/v1/chat/completions", content=BODY % (MESSAGES, provider.encode()))
    if answer.status_code != 200:
        return answer
    seen = Seen(answer.headers["x-request-id"])
    for line in filter(None, answer.text.splitlines()):
        if line == ": ping":  # the machine is busy
            continue
        assert not seen.done, "nothing follows [DONE]"
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            seen.done = True
            continue
        assert seen.error is None, "nothing but [DONE] follows an error"
        _take(seen, json.loads(data))
    return seen


def _take(seen: Seen, event: dict[str, Any]) -> None:
    if "error" in event:
        seen.error = event["error"]
        return
    seen.usage = event["usage"] or seen.usage
    for choice in event["choices"]:
        seen.content += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls") or ():
            seen.arguments += call["function"]["arguments"]
        seen.finish = choice["finish_reason"] or seen.finish


def by_rule(provider: str, seen: Seen, said: TokenUsage | None) -> TokenUsage:
    """The estimation rule of docs/contract.md, worked out by hand: the last usage sent, else what text likely counts.

    An answer that ended before any output is free.
    """
    if not (seen.content or seen.arguments):
        return NO_USAGE
    output = max(1, output_tokens(seen.content + seen.arguments, UPSTREAMS[provider]))
    if said is None:
        return TokenUsage(
            input=asked_tokens(json.loads(BODY % (MESSAGES, b"m")), UPSTREAMS[provider]), output=output
        )
    return said if said.completion >= output else structs.replace(said, output=output)


def said_by(provider: str, count: int, events: int) -> TokenUsage | None:
    """The usage that a provider has sent by its event of this number, one that is not its last."""
    prompt = structs.replace(ANSWER.usage, output=0)
    if provider == "anthropic" and count:
        # The opening's figure of output is a placeholder of 1; the last but one event has the total.
        return structs.replace(prompt, output=33 if count == events - 1 else 1)
    if provider == "gemini" and count:
        return prompt
    if provider == "openai" and count == events - 1:
        return ANSWER.usage
    return None


def check_broken(http: httpx.Client, provider: str, seen: Seen, said: list[TokenUsage | None]) -> None:
    """A broken stream: a prefix of the answer, then an error, then `[DONE]`; billed by what the provider had said."""
    assert ANSWER.text.startswith(seen.content)
    assert ANSWER.arguments[0].startswith(seen.arguments)
    assert seen.content == ANSWER.text or not seen.arguments, "no hole before the call"
    assert seen.error is not None
    assert seen.done
    paid = receipt(http, seen.request_id)
    assert paid["known"] == "estimated"
    assert paid["outcome"] == "failed"
    assert paid["billed_nano"] in {by_hand(by_rule(provider, seen, usage)) for usage in said}


def check_whole(played: dict[str, Any], http: httpx.Client, provider: str) -> None:
    """The same answer uncut is complete: the account is well again after the failures before it."""
    (stage,) = played[provider]
    stage.play(ANSWER)
    seen = stream(http, provider)
    assert (seen.content, seen.arguments, seen.finish) == (ANSWER.text, ANSWER.arguments[0], "tool_calls")
    assert seen.done
    assert seen.error is None
    assert seen.usage["total_tokens"] == 78


@every_family
def test_c38_a_stream_that_ends_after_any_event_is_an_error_billed_by_rule(played, http, provider):
    """Closed cleanly before its end: the caller has exactly what came, an error, and the bill of the rule.

    A server that is not OpenAI's own may leave `[DONE]` out: its answer ends with the finish reason of each choice.
    """
    (stage,) = played[provider]
    events = len(stage.events(ANSWER))
    for count in range(1, events):
        stage.play(ANSWER, end=count)
        seen = stream(http, provider)
        assert isinstance(seen, Seen), count
        if provider == "openai" and count >= events - 2:
            assert (seen.error, seen.done, seen.finish) == (None, True, "tool_calls"), count
            assert receipt(http, seen.request_id)["known"] == (
                "reported" if count == events - 1 else "estimated"
            )
            continue
        check_broken(http, provider, seen, [said_by(provider, count, events)])
        assert seen.error == CUT, count
        check_whole(played, http, provider)


@every_family
def test_c38_a_stream_that_is_reset_after_any_event_is_an_error_billed_by_rule(played, http, provider):
    """A broken connection is the same as an early end."""
    (stage,) = played[provider]
    events = len(stage.events(ANSWER))
    for count in range(1, events):
        stage.play(ANSWER, cut=count)
        seen = stream(http, provider)
        if isinstance(seen, httpx.Response):
            assert seen.status_code == 502  # the reset overtook the first event
            continue
        check_broken(http, provider, seen, [said_by(provider, one, events) for one in range(count + 1)])
        check_whole(played, http, provider)


@every_family
def test_c39_c40_an_error_inside_a_stream_keeps_its_meaning(played, http, provider):
    """Overloaded under way: the error event says so, with a code that can be retried, and what was sent is billed."""
    (stage,) = played[provider]
    events = len(stage.events(ANSWER))
    for count in (3, events - 1):
        stage.play(ANSWER, broken=count)
        seen = stream(http, provider)
        check_broken(http, provider, seen, [said_by(provider, count, events)])
        assert seen.error == {
            "message": "The upstream provider is overloaded.",
            "type": "service_unavailable_error",
            "param": None,
            "code": "server_is_overloaded",
        }
        check_whole(played, http, provider)


@every_family
def test_c41_an_error_as_the_first_event_has_a_status(played, http, provider):
    """A 200 whose first event is an error is no answer: the caller gets the status, and pays nothing."""
    (stage,) = played[provider]
    stage.play(ANSWER, broken=0)
    answer = stream(http, provider)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_is_overloaded"
    assert receipt(http, answer.headers["x-request-id"])["billed_nano"] == 0
    check_whole(played, http, provider)


@every_family
def test_an_answer_that_ends_before_it_begins_has_a_status(played, http, provider):
    """No event at all: 502 and no bill."""
    (stage,) = played[provider]
    stage.play(ANSWER, end=0)
    answer = stream(http, provider)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"
    assert receipt(http, answer.headers["x-request-id"])["billed_nano"] == 0
    check_whole(played, http, provider)
