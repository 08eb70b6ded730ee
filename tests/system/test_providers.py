"""Owns what the caller sees of the four families over the whole path: one conversation, one bill, one list of models."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from schemas.money.pricing import TokenUsage
from tests.fakes import conversation, dialects, gemini
from tests.fakes.dialects import Answer, counted
from tests.fakes.families import (
    PROVIDERS,
    RATE,
    USD_PER_MILLION,
    by_hand,
    config,
    stages,
)
from tests.fakes.openai import Reply
from tests.fakes.receipts import receipt
from tests.fakes.stages import Error
from tests.fakes.tokn import Tokn, wait_for
from workers.providers.gemini.request import LOST_SIGNATURE

pytestmark = pytest.mark.system

CALLS = Answer(
    (),
    TokenUsage(input=100, cached=20, output=30),
    tuple(
        (f"call_{index}", conversation.TOOL_NAME, json.loads(text))
        for index, text in enumerate(conversation.ARGUMENTS)
    ),
)
REPORT = Answer(conversation.ANSWER_PIECES, TokenUsage(input=171, cached=9, output=12))
EVERY_CLASS = TokenUsage(
    input=1_001, cached=333, cache_write=77, cache_write_long=55, input_audio=13, output=41, reasoning=29
)
SAY = [{"role": "user", "content": "hello " * 300}]  # its bound must be above EVERY_CLASS
every_family = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all four families."""
    with Tokn(tmp_path_factory.mktemp("providers") / "data", config(played)) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def sdk(tokn):
    """OpenAI's own SDK."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        yield client


def check_bill(http: httpx.Client, request_id: str, usage: TokenUsage) -> None:
    """A call costs what its provider's figures come to, worked out by hand."""
    paid = receipt(http, request_id)
    assert paid["billed_nano"] == by_hand(usage)
    assert paid["known"] == "reported"
    assert paid["outcome"] == "ok"
    assert Decimal(paid["cost_usd"]) * 1_000_000_000 == by_hand(usage)
    assert {name: count for name, count in paid["tokens"].items() if count} == {
        name: getattr(usage, name) for name in usage.__struct_fields__ if getattr(usage, name)
    }


def converse(sdk: openai.OpenAI, body: dict[str, Any]) -> tuple[conversation.Outcome, list[str], str]:
    """One turn of the conversation by the SDK: what came, the ids of its tool calls, the call's id."""
    if body["stream"]:
        raw = sdk.chat.completions.with_raw_response.create(**body)
        chunks = [chunk.model_dump() for chunk in raw.parse()]
        return *conversation.outcome(chunks), raw.headers["x-request-id"]
    body = {name: value for name, value in body.items() if name != "stream_options"}
    answer = sdk.chat.completions.create(**body)
    (choice,) = answer.choices
    calls = choice.message.tool_calls or []
    seen = conversation.Outcome(
        choice.message.content or "",
        tuple((call.function.name, call.function.arguments) for call in calls),
        choice.finish_reason,
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    return seen, [call.id for call in calls], str(answer._request_id)


@every_family
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_the_same_conversation_gives_the_same_result(played, sdk, http, provider, stream):
    """System, image, two parallel tools, their results, a JSON answer: the caller cannot tell who answered, nor at what price."""
    (stage,) = played[provider]
    stage.play(CALLS)
    first = conversation.first_request(provider) | {"stream": stream}
    seen, call_ids, first_id = converse(sdk, first)
    assert seen == conversation.FIRST
    assert call_ids == ["call_0", "call_1"]
    stage.play(REPORT)
    second = conversation.second_request(provider, call_ids) | {"stream": stream}
    second["response_format"] = conversation.JSON_ANSWER
    seen, _, second_id = converse(sdk, second)
    assert seen == conversation.SECOND
    check_bill(http, first_id, CALLS.usage)
    check_bill(http, second_id, REPORT.usage)
    if provider == "gemini":
        assert signatures(stage.bodies[-1]) == [dialects.SIGNATURE, None]


def signatures(body: dict[str, Any]) -> list[str | None]:
    """The thought signatures of the calls in a Gemini request."""
    parts = [part for content in body["contents"] for part in content["parts"]]
    return [part.get("thoughtSignature") for part in parts if "functionCall" in part]


@every_family
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_every_class_of_tokens_is_billed_to_the_nano_dollar(played, tokn, http, provider, stream):
    """The bill, `usage.cost` and the receipt are the sum by hand over all classes; the key that asks for it stays here."""
    (stage,) = played[provider]
    usage = counted(provider, EVERY_CLASS)
    stage.play(Answer(("Hel", "lo"), usage))
    body = {"model": provider, "messages": SAY, "stream": stream, "usage": {"include": True}}
    if stream:
        body["stream_options"] = {"include_usage": True}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        *events, done = [line for line in answer.text.splitlines() if line]
        assert done == "data: [DONE]"
        told = json.loads(events[-1].removeprefix("data: "), parse_float=Decimal)["usage"]
    else:
        told = answer.json(parse_float=Decimal)["usage"]
    assert told["prompt_tokens"] == usage.prompt
    assert told["completion_tokens"] == usage.completion
    assert told["total_tokens"] == usage.prompt + usage.completion
    assert isinstance(told["cost"], Decimal)
    assert told["cost"] * 1_000_000_000 == by_hand(usage)
    assert "usage" not in stage.bodies[-1]
    request_id = answer.headers["x-request-id"]
    check_bill(http, request_id, usage)
    (row,) = [row for row in tokn.rows("usage", "--limit", "20") if row["request_id"] == request_id]
    assert row["billed_nano"] == by_hand(usage)
    assert (row["provider"], row["pool"], row["model"]) == (provider, provider, provider)
    assert row["cached_tokens"] == usage.cached
    assert row["cache_write_tokens"] == usage.cache_write + usage.cache_write_long
    assert row["reasoning_tokens"] == usage.reasoning


def test_signatures_outlive_the_worker_that_heard_them(played, tokn, sdk):
    """Gemini's thought signatures come back with the next turn though another worker process serves it."""
    (stage,) = played["gemini"]
    stage.play(CALLS)
    _, call_ids, _ = converse(sdk, conversation.first_request("gemini"))
    killed = tokn.kill("worker")
    wait_for(lambda: any(one != killed for one in tokn.children("worker")), 10, "another worker")
    stage.play(REPORT)

    def once_served() -> Any:
        # The beats of the killed one count for a while yet: only a call shows that there is another one.
        with contextlib.suppress(openai.RateLimitError):
            return converse(sdk, conversation.second_request("gemini", call_ids))

    seen, _, _ = wait_for(once_served, 20, "another worker that serves")
    assert seen == conversation.SECOND
    assert signatures(stage.bodies[-1]) == [dialects.SIGNATURE, None]


@every_family
def test_a_corrupted_signature_costs_the_reasoning_not_the_call(played, sdk, http, provider):
    """Signatures that the provider cannot read are taken out and the call made once more, unseen; others' errors stand."""
    (stage,) = played[provider]
    stage.play(CALLS)
    _, call_ids, _ = converse(sdk, conversation.first_request(provider))
    body = conversation.second_request(provider, call_ids) | {"response_format": conversation.JSON_ANSWER}
    refusal = Error(
        400,
        gemini.error_body(400, "INVALID_ARGUMENT", "Corrupted thought signature."),
        name="ValidationException",
    )
    before = len(stage.bodies)
    stage.fail(refusal)
    stage.play(REPORT)
    if provider != "gemini":
        stage.fail(refusal)
        with pytest.raises(openai.BadRequestError):
            converse(sdk, body)
        stage.forget()
        assert len(stage.bodies) == before + 1
        return
    seen, _, request_id = converse(sdk, body)
    assert seen == conversation.SECOND
    assert [signatures(sent) for sent in stage.bodies[before:]] == [
        [dialects.SIGNATURE, None],
        [LOST_SIGNATURE, None],
    ]
    check_bill(http, request_id, REPORT.usage)
    stage.fail(refusal)
    stage.fail(refusal)
    with pytest.raises(openai.BadRequestError):
        converse(sdk, body)
    assert len(stage.bodies) == before + 4


def test_a_signature_refused_under_way_is_not_tried_again(played, sdk):
    """Once words of the answer are out, a complaint about signatures is an error like any other."""
    (stage,) = played["gemini"]
    stage.play(CALLS)
    _, call_ids, _ = converse(sdk, conversation.first_request("gemini"))
    body = conversation.second_request("gemini", call_ids)
    before = len(stage.bodies)
    complaint = gemini.error_body(400, "INVALID_ARGUMENT", "Corrupted thought signature.")
    stage._fake.play(gemini.Script((*dialects.gemini_objects(REPORT)[:2], complaint)))
    with pytest.raises(openai.APIError):
        converse(sdk, body)
    assert len(stage.bodies) == before + 1


@pytest.mark.parametrize(
    ("asked", "served", "factor"),
    [("priority", "priority", "1.8"), ("priority", "standard", "1"), ("flex", "flex", "0.5")],
)
def test_the_tier_that_served_is_the_tier_that_is_billed(played, http, asked, served, factor):
    """Gemini says in a header which service tier it served at: that one is billed, whatever was asked for."""
    (stage,) = played["gemini"]
    headers = {"x-gemini-service-tier": served}
    stage._fake.play(gemini.Script(tuple(dialects.gemini_objects(REPORT)), headers=headers))
    body = {"model": "tiered", "messages": SAY, "service_tier": asked}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert stage.bodies[-1]["serviceTier"] == asked
    listed = 180 * 3_000 + 12 * 15_000
    assert receipt(http, answer.headers["x-request-id"])["billed_nano"] == round(
        listed * RATE * Decimal(factor)
    )


def test_a_built_in_models_tier_is_billed_by_its_table(played, http):
    """Models that no row of the file names: priority of gpt-6.1-sol is twice the list price, to the nano-dollar.

    Flex of gemini-2.5-flash halves what is fresh and what is said, but not what is cached.
    """
    (stage,) = played["openai"]
    told = json.loads(dialects.openai_body(REPORT)) | {"service_tier": "priority"}
    stage._queue.append(lambda _: Reply(pieces=[json.dumps(told).encode()], length=True))
    body = {"messages": SAY, "max_tokens": 50}
    answer = http.post(
        "/v1/chat/completions", json=body | {"model": "gpt-6.1-sol", "service_tier": "priority"}
    )
    assert answer.status_code == 200, answer.text
    assert stage.bodies[-1]["service_tier"] == "priority"
    bill = receipt(http, answer.headers["x-request-id"])
    assert bill["list_nano"] == 2 * (171 * 2_000 + 9 * 100 + 12 * 10_000)
    assert bill["billed_nano"] == round(bill["list_nano"] * RATE)
    (stage,) = played["gemini"]
    headers = {"x-gemini-service-tier": "flex"}
    stage._fake.play(gemini.Script(tuple(dialects.gemini_objects(REPORT)), headers=headers))
    answer = http.post(
        "/v1/chat/completions", json=body | {"model": "gemini/gemini-2.5-flash", "service_tier": "flex"}
    )
    assert answer.status_code == 200, answer.text
    bill = receipt(http, answer.headers["x-request-id"])
    assert bill["list_nano"] == 171 * 150 + 9 * 30 + 12 * 1_250


LEGACY = Answer(("Once ", "more"), TokenUsage(input=9, output=2))


@every_family
def test_completions_are_emulated_over_chat(played, tokn, sdk, http, provider):
    """A prompt becomes one user message; the answer has the legacy shape, plain and streamed, and its own bill."""
    (stage,) = played[provider]
    stage.play(LEGACY)
    answer = sdk.completions.create(model=provider, prompt="Again", max_tokens=7, echo=True)
    assert answer.object == "text_completion"
    assert [(one.index, one.text, one.finish_reason) for one in answer.choices] == [
        (0, "AgainOnce more", "stop")
    ]
    assert answer.usage.total_tokens == 11
    check_bill(http, str(answer._request_id), LEGACY.usage)
    stage.play(LEGACY)
    raw = sdk.completions.with_raw_response.create(
        model=provider, prompt="Again", stream=True, stream_options={"include_usage": True}
    )
    chunks = list(raw.parse())
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "Once more"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]].count("stop") == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 11
    check_bill(http, raw.headers["x-request-id"], LEGACY.usage)


@every_family
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_an_array_of_prompts_is_a_call_for_each(played, tokn, http, provider, stream):
    """Two prompts are two upstream calls, two choices in order, and one bill over both."""
    (stage,) = played[provider]
    stage.play(LEGACY)
    stage.play(Answer(("other",), TokenUsage(input=4, output=1)))
    before = len(stage.bodies)
    body = {"model": provider, "prompt": ["One", "Two"], "max_tokens": 5, "stream": stream}
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        texts = ["", ""]
        for choice in [choice for event in events for choice in event["choices"]]:
            texts[choice["index"]] += choice["text"]
    else:
        texts = [choice["text"] for choice in answer.json()["choices"]]
    assert texts == ["Once more", "other"]
    assert len(stage.bodies) - before == 2
    check_bill(http, answer.headers["x-request-id"], TokenUsage(input=13, output=3))


def test_titan_completes(played, tokn, sdk, http):
    """A model that only Bedrock's InvokeModel speaks to answers chat and legacy completions, plain and streamed."""
    plain = sdk.completions.create(model="titan", prompt="hi")
    assert plain.choices[0].text == "Hello"
    check_bill(http, str(plain._request_id), TokenUsage(input=3, output=2))
    streamed = sdk.chat.completions.create(
        model="titan", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "Hello"


@pytest.mark.parametrize("name", ["gemini-embedding-001", "bedrock/amazon.titan-embed-text-v2:0"])
def test_a_model_that_has_no_route_here_says_which_it_has(tokn, sdk, http, name):
    """Embeddings models of the configured pools are a 400 to chat by either name, without a bill; they are listed."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=name, messages=[{"role": "user", "content": "hi"}])
    assert (refused.value.param, refused.value.type) == ("model", "invalid_request_error")
    assert f"`{name}` by /v1/embeddings only" in refused.value.message
    assert http.get(f"/v1/generations/{refused.value.request_id}").status_code == 404
    (entry,) = [entry for entry in http.get("/v1/models").json()["data"] if entry["id"] == name]
    assert entry["capabilities"]["chat"] is entry["capabilities"]["completions"] is False
    assert entry["capabilities"]["embeddings"]["dimensions"] > 0


def per_million(name: str, rate: Decimal) -> Decimal:
    """A price in USD per million tokens."""
    return Decimal(USD_PER_MILLION[name]) * rate


@pytest.mark.parametrize("name", [*PROVIDERS, "titan"])
def test_models_say_what_they_cost_and_can_do(tokn, http, name):
    """Each entry has OpenAI's fields and, beside them, provider, pool, window, limit, list and billed prices, capabilities."""
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    (entry,) = [entry for entry in listed["data"] if entry["id"] == name]
    assert http.get(f"/v1/models/{name}").json() == entry
    provider = "bedrock" if name == "titan" else name
    known = {"id": name, "object": "model", "provider": provider, "pool": provider}
    known |= {"context_window": 200_000, "max_output_tokens": 8_192}
    assert entry | known == entry
    assert isinstance(entry["created"], int)
    assert isinstance(entry["owned_by"], str)
    assert entry["pricing"]["unit"] == "USD per million tokens"
    assert Decimal(entry["pricing"]["rate"]) == RATE
    for kind, rate in (("list", Decimal(1)), ("billed", RATE)):
        (tier,) = entry["pricing"][kind]
        assert tier["above_prompt_tokens"] == 0
        assert Decimal(tier["cached"]) == per_million("cached_input", rate)
        assert Decimal(tier["output"]) == per_million("output", rate)
    able = entry["capabilities"]
    assert able["tools"] is (name != "titan")
    assert able["images"] is (name != "titan")
