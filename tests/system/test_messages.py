"""Owns what callers of /v1/messages see over the whole path: Anthropic's own SDK, native and translated, and the bill."""

import importlib
import json
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from schemas.dialects.messages.counting import MESSAGE_TOKENS
from schemas.estimates.starts import start_of
from schemas.money.pricing import TokenUsage
from tests.fakes import conversation
from tests.fakes.anthropic import COUNT, error_body
from tests.fakes.dialects import Answer, counted
from tests.fakes.families import PROVIDERS, UPSTREAMS, by_hand, config, model_toml, stages
from tests.fakes.receipts import receipt
from tests.fakes.stages import Error
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

EVERY_CLASS = TokenUsage(
    input=1_001, cached=333, cache_write=77, cache_write_long=55, input_audio=13, output=41, reasoning=29
)
TOOL = {
    "name": conversation.TOOL_NAME,
    "description": "Looks up the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLS = Answer(
    ("Look", "ing."),
    TokenUsage(input=100, cached=20, output=30),
    tuple(
        (f"call_{index}", conversation.TOOL_NAME, json.loads(text))
        for index, text in enumerate(conversation.ARGUMENTS)
    ),
)
REPORT = Answer(("It ", "rains."), TokenUsage(input=171, cached=9, output=12))
SAY: list[Any] = [{"role": "user", "content": "hello " * 100}]
SAY_MORE: list[Any] = [{"role": "user", "content": "hello " * 300}]  # its bound must be above EVERY_CLASS
COUNTED = model_toml("counted", "anthropic", UPSTREAMS["anthropic"], 'count = "native"\n')
SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'

every_family = pytest.mark.parametrize("provider", PROVIDERS)
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all four families and the sandbox."""
    with Tokn(tmp_path_factory.mktemp("messages") / "data", config(played) + COUNTED + SANDBOX) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def anthropic():
    """Anthropic's package: two seconds of imports, for the one process that runs these tests."""
    return importlib.import_module("anthropic")


@pytest.fixture(scope="module")
def sdk(tokn, anthropic):
    """Anthropic's own SDK."""
    with anthropic.Anthropic(api_key=tokn.key, base_url=tokn.url, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key where Anthropic's clients put it, and nothing else."""
    with httpx.Client(base_url=tokn.url, headers={"x-api-key": tokn.key}, timeout=60) as client:
        yield client


def ask(sdk: Any, *, stream: bool, **body: Any) -> tuple[Any, httpx.Headers]:
    """A message by the SDK, which adds a stream up itself, and the headers it came with."""
    body = {"max_tokens": 400, "messages": SAY} | body
    if not stream:
        raw = sdk.messages.with_raw_response.create(**body)
        return raw.parse(), raw.headers
    with sdk.messages.stream(**body) as events:
        message = events.get_final_message()
        return message, events.response.headers


@every_family
@streamed_or_plain
def test_a_tool_loop(played, sdk, http, provider, stream):
    """Text, parallel calls, their results, a report: blocks as Anthropic has them, and each call billed to the nano."""
    (stage,) = played[provider]
    stage.play(CALLS)
    first, headers = ask(sdk, stream=stream, model=provider, tools=[TOOL])
    assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
    assert (first.model, first.role, first.stop_reason) == (provider, "assistant", "tool_use")
    assert first.content[0].text == CALLS.text
    assert [block.input for block in first.content[1:]] == [call[2] for call in CALLS.calls]
    assert [block.id for block in first.content[1:]] == ["call_0", "call_1"]
    assert headers["request-id"] == headers["x-request-id"]
    assert first.id == "msg_" + headers["request-id"].removeprefix("req_")
    usage = first.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (100, 20, 30)
    assert receipt(http, headers["request-id"])["billed_nano"] == by_hand(CALLS.usage)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "rain"} for block in first.content[1:]
    ]
    stage.play(REPORT)
    turns = [
        *SAY,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": results},
    ]
    report, headers = ask(sdk, stream=stream, model=provider, tools=[TOOL], messages=turns)
    assert [block.text for block in report.content] == [REPORT.text]
    assert report.stop_reason == "end_turn"
    assert receipt(http, headers["request-id"])["billed_nano"] == by_hand(REPORT.usage)


@every_family
@streamed_or_plain
def test_every_class_of_tokens_is_billed_and_told(played, sdk, http, provider, stream):
    """Input, cached and written exclude one another, and come to what the other dialects' usage comes to."""
    usage = counted(provider, EVERY_CLASS)
    (stage,) = played[provider]
    stage.play(Answer(("a", "b"), usage))
    message, headers = ask(sdk, stream=stream, model=provider, messages=SAY_MORE)
    told = message.usage
    assert told.input_tokens == usage.input + usage.input_audio
    assert told.cache_read_input_tokens == usage.cached
    assert told.cache_creation_input_tokens == usage.cache_write + usage.cache_write_long
    assert told.output_tokens == usage.completion
    assert receipt(http, headers["request-id"])["billed_nano"] == by_hand(usage)


@streamed_or_plain
def test_the_sandbox(sdk, stream):
    """Without any credential: the same words, streamed and plain."""
    message, _ = ask(sdk, stream=stream, model="tokn-sandbox")
    assert message.content[0].text.startswith("This is the tokn sandbox")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 10
    cut, _ = ask(sdk, stream=stream, model="tokn-sandbox", max_tokens=3)
    assert cut.stop_reason == "max_tokens"


@every_family
@streamed_or_plain
def test_the_cost_is_told_where_it_was_asked_for(played, http, provider, stream):
    """The figure of the message, or of its stream's last event but one, is what the ledger bills."""
    (stage,) = played[provider]
    stage.play(REPORT)
    body = {
        "model": provider,
        "max_tokens": 99,
        "messages": SAY,
        "stream": stream,
        "usage": {"include": True},
    }
    answer = http.post("/v1/messages", json=body)
    told = answer.text if stream else f"data: {answer.text}"
    events = [json.loads(line[6:]) for line in told.split("\n") if line.startswith("data: ")]
    (last,) = [event for event in events if event["type"] in ("message_delta", "message")]
    billed = receipt(http, answer.headers["x-request-id"])
    assert Decimal(repr(last["usage"]["cost"])) == Decimal(billed["cost_usd"])
    assert billed["billed_nano"] == by_hand(REPORT.usage)
    assert not stream or events[-1] == {"type": "message_stop"}


@every_family
def test_a_failure_in_a_stream_is_an_error_event(played, sdk, provider, anthropic):
    """The SDK raises what the provider's failure means, and no message ends as if it were whole."""
    (stage,) = played[provider]
    stage.play(REPORT, broken=3)
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(sdk, stream=True, model=provider)
    assert raised.value.body["type"] == "error"
    assert raised.value.body["error"]["type"] == "overloaded_error"
    assert raised.value.body["request_id"].startswith("req_")


def test_errors_have_anthropics_envelope(tokn, sdk, http, anthropic):
    """Each status under the path: its type, its class in the SDK, and the request's id in body and header."""
    for status, kind, made in (
        (400, "invalid_request_error", {"json": {"model": "openai", "messages": SAY}}),
        (400, "invalid_request_error", {"content": b"{"}),
        (401, "authentication_error", {"json": {}, "headers": {"x-api-key": "no"}}),
        (404, "not_found_error", {"json": {"model": "no-such", "max_tokens": 9, "messages": SAY}}),
    ):
        answer = http.post("/v1/messages?beta=true", **made)
        assert answer.status_code == status
        envelope = answer.json()
        assert (envelope["type"], envelope["error"]["type"]) == ("error", kind)
        assert envelope["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
    assert http.get("/v1/messages").json()["error"]["type"] == "invalid_request_error"
    assert http.post("/v1/messages/batches", json={}).json()["error"]["type"] == "not_found_error"
    poor = tokn.row("key", "create", "--name", "poor", "--balance", "0.000001")
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(sdk.with_options(api_key=poor["key"]), stream=True, model="openai")
    assert (raised.value.status_code, raised.value.body["error"]["type"]) == (402, "billing_error")
    assert raised.value.response.headers["x-should-retry"] == "false"


@every_family
def test_an_overloaded_provider_is_529(played, sdk, provider, anthropic):
    """As Anthropic's own clients know it."""
    (stage,) = played[provider]
    stage.fail(
        {
            "openai": Error(503, {"error": {"message": "busy", "code": "server_is_overloaded"}}),
            "anthropic": Error(529, error_body("overloaded_error", "Overloaded")),
            "gemini": Error(503, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}),
            "bedrock": Error(503, "busy", name="ServiceUnavailableException"),
        }[provider]
    )
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(sdk, stream=False, model=provider)
    assert (raised.value.status_code, raised.value.body["error"]["type"]) == (529, "overloaded_error")


def test_a_native_refusal_keeps_its_words(played, sdk, anthropic):
    """Anthropic's clients mend their request by what its 400 says."""
    (stage,) = played["anthropic"]
    words = "messages.1.content.0: Invalid `signature` in `thinking` block"
    stage.fail(Error(400, error_body("invalid_request_error", words)))
    with pytest.raises(anthropic.BadRequestError) as raised:
        ask(sdk, stream=True, model="anthropic")
    assert raised.value.body["error"] == {"type": "invalid_request_error", "message": words}


def test_what_goes_no_further_is_named(played, http):
    """Unknown fields and tools that run elsewhere: the call goes on without them, and says so."""
    (stage,) = played["gemini"]
    stage.play(REPORT)
    body = {
        "model": "gemini",
        "max_tokens": 99,
        "messages": SAY,
        "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        "diagnostics": {"previous_message_id": None},
    }
    answer = http.post("/v1/messages", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-tokn-ignored"] == "diagnostics,tools[1]:web_search_20250305"
    assert [tool["name"] for tool in stage.bodies[-1]["tools"][0]["functionDeclarations"]] == [TOOL["name"]]


def test_one_list_of_models_serves_both_sdks(tokn, sdk, anthropic):
    """Anthropic's SDK reads all that its type wants, turns pages, and finds one model by its id."""
    listed = {model.id: model for model in sdk.models.list(limit=2)}
    assert {*PROVIDERS, "tokn-sandbox"} <= set(listed)
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0) as other:
        assert {model.id for model in other.models.list()} == set(listed)
    for model in listed.values():
        anthropic.types.ModelInfo.model_validate(model.model_dump(exclude={"capabilities"}), strict=True)
        assert (model.type, model.display_name) == ("model", model.id)
    assert (listed["anthropic"].max_input_tokens, listed["anthropic"].max_tokens) == (200_000, 8_192)
    assert sdk.models.retrieve("gemini").id == "gemini"


@pytest.mark.parametrize("order", [("anthropic", "gemini"), ("gemini", "anthropic")])
def test_another_model_takes_over(played, http, order):
    """A body is native for one of its models and translated for the other: whoever serves, it is one call and one bill."""
    first, second = order
    overloaded = {
        "anthropic": Error(529, error_body("overloaded_error", "Overloaded")),
        "gemini": Error(503, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}),
    }
    played[first][0].fail(overloaded[first])
    played[second][0].play(REPORT)
    body = {"models": list(order), "max_tokens": 99, "messages": SAY, "stream": True}
    answer = http.post("/v1/messages", json=body)
    assert answer.headers["x-tokn-model"] == second
    assert f'"model":"{second}"' in answer.text
    assert answer.text.count("event: message_start") == answer.text.count("event: message_stop") == 1
    assert receipt(http, answer.headers["request-id"])["billed_nano"] == by_hand(REPORT.usage)


def test_counting_costs_nothing(played, tokn, sdk, http):
    """The same text for every family, by its tokenizer, without a job, a hold or a line in the books; unknown models are a 404."""
    bodies = {name: len(stages[0].bodies) for name, stages in played.items()}
    spent = tokn.row("key", "create", "--name", "empty", "--balance", "0")
    free = sdk.with_options(api_key=spent["key"])
    counts = {
        name: free.messages.count_tokens(
            model=name, messages=SAY, system="Be brief.", tools=[TOOL]
        ).input_tokens
        for name in (*PROVIDERS, "tokn-sandbox")
    }
    plain = counts["openai"]
    factors = {name: start_of(UPSTREAMS.get(name, "")).factor for name in counts}
    assert len(set(factors.values())) == 2
    said = plain - MESSAGE_TOKENS  # of texts alone
    assert all(abs(count - MESSAGE_TOKENS - said * factors[name]) <= 1 for name, count in counts.items()), (
        counts
    )
    assert 100 < plain < 200  # of the hundred words each is a token
    assert {name: len(stages[0].bodies) for name, stages in played.items()} == bodies
    assert not tokn.rows("usage", "--key", spent["id"])
    path = "/v1/messages/count_tokens"
    for body, status in (({"model": "no-such", "messages": SAY}, 404), ({"model": "openai"}, 400)):
        answer = http.post(path, json=body)
        assert (answer.status_code, answer.json()["type"]) == (status, "error")
    assert http.post(path, json={}, headers={"x-api-key": "no"}).status_code == 401


def test_a_provider_counts_where_the_row_says_so(played, tokn, sdk):
    """Its figure, for nothing and for a key without a balance; where it fails, the estimate, and it is left alone a while."""
    fake = played["anthropic"][0]._fake
    spent = tokn.row("key", "create", "--name", "counts", "--balance", "0")
    free = sdk.with_options(api_key=spent["key"])

    def count(model):
        return free.messages.count_tokens(model=model, messages=SAY, system="Be brief.").input_tokens

    calls, estimate = len(fake.calls), count("anthropic")
    assert not fake.counted
    assert count("counted") == COUNT != estimate
    assert fake.counted == [{"model": UPSTREAMS["anthropic"], "messages": SAY, "system": "Be brief."}]
    fake.count_status = 500
    assert [count("counted") for _ in range(2)] == [estimate] * 2
    assert len(fake.counted) == 2
    assert len(fake.calls) == calls
    assert not tokn.rows("usage", "--key", spent["id"])


@pytest.mark.parametrize("seen", ["message_start", "content_block_start", "text_delta"])
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_caller_who_leaves_pays_what_was_produced(played, http, provider, seen):
    """From a stream's first event on, native and translated: the call is cancelled, and its tokens come to its bill."""
    (stage,) = played[provider]
    stage.play(Answer(tuple("word " for _ in range(200)), TokenUsage(input=50, output=200)), cut=150)
    body = {"model": provider, "max_tokens": 400, "messages": SAY, "stream": True}
    with http.stream("POST", "/v1/messages", json=body) as answer:
        request_id = answer.headers["request-id"]
        next(line for line in answer.iter_lines() if seen in line)
    paid = receipt(http, request_id)
    assert (paid["outcome"], paid["known"]) == ("cancelled", "estimated")
    assert paid["billed_nano"] == by_hand(TokenUsage(**paid["tokens"]))
    assert 0 < paid["billed_nano"] <= by_hand(TokenUsage(input=700, output=400))
