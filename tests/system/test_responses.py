"""Owns what callers of /v1/responses see over the whole path: OpenAI's SDK on all families, natively and through chat."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from schemas.money.pricing import TokenUsage
from tests.fakes.dialects import SIGNATURE, Answer, counted
from tests.fakes.families import PROVIDERS, by_hand
from tests.fakes.node import NodeSdk
from tests.fakes.receipts import receipt
from tests.fakes.responses import LOOK, NATIVE, WAYS, every_stage, every_toml
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system


class Place(BaseModel):
    """What an answer is asked to be."""

    city: str


SAY = "hello " * 100
TEXT = Answer(("Hel", "lo", " there."), TokenUsage(input=101, cached=33, output=12))
CALLS = Answer(
    ("Looking.",),
    TokenUsage(input=120, cached=20, output=30),
    (("call_a", "look", {"at": "x"}), ("call_b", "look", {"at": "y"})),
)
every_way = pytest.mark.parametrize("way", WAYS)
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, and one that speaks the dialect itself."""
    with every_stage() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all of them, and the sandbox."""
    text = every_toml(played)
    text += '[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 100000\n'
    with Tokn(tmp_path_factory.mktemp("responses") / "data", text) as running:
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


def ask(sdk: openai.OpenAI, *, stream: bool, **body: Any) -> tuple[Any, str]:
    """A response, by the SDK's own accumulator of a stream or in one piece, and the call's id."""
    if stream:
        with sdk.responses.stream(**body) as events:
            request_id = events._response.headers["x-request-id"]
            numbers = [event.sequence_number for event in events]
            assert numbers == list(range(len(numbers)))
            return events.get_final_response(), request_id
    raw = sdk.responses.with_raw_response.create(**body)
    return raw.parse(), raw.headers["x-request-id"]


@every_way
@streamed_or_plain
def test_a_text_and_its_exact_bill(played, sdk, http, way, stream):
    """The same answer whichever family serves, with every count, and a bill of its provider's own figures."""
    played[way][0].play(TEXT)
    answer, request_id = ask(sdk, stream=stream, model=way, input=SAY, max_output_tokens=50)
    assert answer.output_text == "Hello there."
    assert (answer.status, answer.model, answer.store) == ("completed", way, False)
    assert answer.id == f"resp_{request_id.removeprefix('req_')}"
    used = counted("openai" if way == NATIVE else way, TEXT.usage)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (used.prompt, used.completion)
    assert answer.usage.input_tokens_details.cached_tokens == used.cached
    paid = receipt(http, request_id)
    assert (paid["billed_nano"], paid["known"], paid["outcome"]) == (by_hand(used), "reported", "ok")


@every_way
@streamed_or_plain
def test_a_tool_loop(played, sdk, way, stream):
    """Two calls in parallel, their results, and the answer; what was said travels back whole."""
    stage = played[way][0]
    stage.play(CALLS)
    said: list[Any] = [{"role": "user", "content": SAY}]
    first, _ = ask(sdk, stream=stream, model=way, input=said, tools=[LOOK])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("look", {"at": "x"}),
        ("look", {"at": "y"}),
    ]
    assert first.output_text == "Looking."
    said += [item.model_dump(exclude_none=True) for item in first.output]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "seen"} for call in calls]
    stage.play(TEXT)
    answer, _ = ask(sdk, stream=stream, model=way, input=said, tools=[LOOK])
    assert answer.output_text == "Hello there."
    assert json.dumps(stage.bodies[-1]).count("seen") == 2
    assert "Looking." in json.dumps(stage.bodies[-1])


@pytest.mark.parametrize("way", PROVIDERS)
@streamed_or_plain
def test_a_shell_of_the_callers(played, sdk, way, stream):
    """Any model is offered it, its call comes back as a shell's, and what the shell printed goes to the model."""
    stage = played[way][0]
    stage.play(Answer((), CALLS.usage, (("call_a", "shell", {"commands": ["ls"]}),)))
    said: list[Any] = [{"role": "user", "content": SAY}]
    choice = {"type": "shell"}
    first, _ = ask(sdk, stream=stream, model=way, input=said, tools=[{"type": "shell"}], tool_choice=choice)
    (call,) = first.output
    assert (call.type, call.status, call.action.commands) == ("shell_call", "completed", ["ls"])
    assert "commands" in json.dumps(stage.bodies[-1])
    said.append(call.model_dump(exclude_none=True))
    printed = {"stdout": "made.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    said.append({"type": "shell_call_output", "call_id": call.call_id, "output": [printed]})
    stage.play(TEXT)
    answer, _ = ask(sdk, stream=stream, model=way, input=said, tools=[{"type": "shell"}])
    assert answer.output_text == "Hello there."
    assert "made.txt" in json.dumps(stage.bodies[-1])


@streamed_or_plain
def test_the_sandbox(sdk, http, stream):
    """It needs no credentials, and is billed like any other."""
    answer, request_id = ask(sdk, stream=stream, model="tokn-sandbox", input="hi")
    assert answer.status == "completed"
    assert answer.output_text.startswith("This is the tokn sandbox")
    assert receipt(http, request_id)["tokens"]["output"] == answer.usage.output_tokens > 20


@streamed_or_plain
def test_an_answer_that_was_cut_by_its_limit(http, stream):
    """It is incomplete, says why, and is billed for what it has."""
    body = {"model": "tokn-sandbox", "input": "hi", "max_output_tokens": 20, "stream": stream}
    answer = http.post("/v1/responses", json=body)
    said = _events(answer.text)[-1]["response"] if stream else answer.json()
    assert (said["status"], said["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert said["output"][0]["status"] == "incomplete"
    paid = receipt(http, answer.headers["x-request-id"])
    assert paid["tokens"]["output"] == said["usage"]["output_tokens"] == 20


@every_way
def test_a_failure_in_a_stream_is_an_error_to_the_sdk(played, sdk, http, way):
    """What came before it arrives, then the SDK raises, with the words that clients go by."""
    played[way][0].play(TEXT, broken=5)
    raw = sdk.responses.with_raw_response.create(model=way, input=SAY, stream=True)
    seen = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(event for event in raw.parse())
    assert seen[0].type == "response.created"
    assert raised.value.code == "server_error"
    assert receipt(http, raw.headers["x-request-id"])["outcome"] == "failed"


@every_way
def test_the_last_two_events_of_a_failure(played, http, way):
    """Numbered on, `error` and then a failed response; nothing after them."""
    played[way][0].play(TEXT, broken=5)
    body = {"model": way, "input": SAY, "stream": True}
    events = _events(http.post("/v1/responses", json=body).text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == events[-2]["error"]["code"] == events[-1]["response"]["error"]["code"]
    assert events[-1]["response"]["id"] == events[0]["response"]["id"]


def _events(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@every_way
@pytest.mark.parametrize("at", ["response.created", "output_text.delta"])
async def test_who_hangs_up_pays_by_the_rule(played, tokn, http, way, at):
    """An estimate of what was produced, at most the hold; Bedrock's answer is read on and billed as it is reported."""
    stage = played[way][0]
    stage.play(Answer(("x",) * 200, TokenUsage(input=100, output=200)), cut=150)
    body = {"model": way, "input": SAY, "stream": True, "max_output_tokens": 300}
    headers = {"Authorization": f"Bearer {tokn.key}"}
    async with (
        httpx.AsyncClient(base_url=tokn.url, headers=headers, timeout=60) as client,
        client.stream("POST", "/v1/responses", json=body) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        async for line in answer.aiter_lines():
            if at in line:
                break
    paid = await asyncio.to_thread(receipt, http, request_id)
    assert paid["outcome"] in {"cancelled", "failed"}
    assert 0 < paid["billed_nano"] <= by_hand(TokenUsage(input=3_000, output=300))


@every_way
def test_the_cost_is_what_is_billed(played, http, way):
    """To the nano, in the usage of either form, where a caller asks for it."""
    for stream in (True, False):
        played[way][0].play(TEXT)
        body = {"model": way, "input": SAY, "usage": {"include": True}, "stream": stream}
        answer = http.post("/v1/responses", json=body)
        said = _events(answer.text)[-1]["response"] if stream else answer.json()
        paid = receipt(http, answer.headers["x-request-id"])
        assert Decimal(repr(said["usage"]["cost"])) == Decimal(paid["cost_usd"])


def test_what_goes_no_further_is_named(played, http):
    """In a header, by its place; the call is served."""
    played["gemini"][0].play(TEXT)
    body = {"model": "gemini", "input": SAY, "tools": [LOOK, {"type": "web_search"}, {"type": "mcp"}]}
    answer = http.post("/v1/responses", json=body | {"client_metadata": {"a": "b"}, "prompt_cache_key": "k"})
    assert answer.status_code == 200
    assert set(answer.headers["x-tokn-ignored"].split(",")) == {
        "client_metadata",
        "tools[1]:web_search",
        "prompt_cache_key",
        "tools[2]:mcp",
    }


@every_way
@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"previous_response_id": "resp_x"}, 400, "previous_response_not_found"),
        ({"background": True}, 400, "unsupported_parameter"),
        ({"input": [{"type": "item_reference", "id": "msg_x"}]}, 404, None),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            400,
            "unsupported_value",
        ),
        ({"service_tier": "priority"}, 400, "unsupported_value"),
        ({"max_output_tokens": 0}, 400, "invalid_value"),
    ],
)
def test_refusals_before_any_hold(http, way, more, status, code):
    """OpenAI's envelope with its code, whichever family would have served."""
    error = http.post("/v1/responses", json={"model": way, "input": "hi", **more})
    assert error.status_code == status
    assert error.json()["error"]["code"] == code


def test_a_balance_that_is_too_small(tokn, sdk):
    """402, which no client repeats."""
    key = tokn.row("key", "create", "--name", "poor", "--balance", "0.0001")["key"]
    with pytest.raises(openai.APIStatusError) as raised:
        sdk.with_options(api_key=key).responses.create(model="gemini", input=SAY, max_output_tokens=8_000)
    assert raised.value.status_code == 402
    assert raised.value.code == "insufficient_balance"


def test_an_unset_limit_is_not_below_the_upstreams_floor(played, http):
    """A limit below what OpenAI takes goes up as that, and the hold is for that."""
    played[NATIVE][0].play(TEXT)
    answer = http.post("/v1/responses", json={"model": NATIVE, "input": SAY, "max_output_tokens": 3})
    assert answer.status_code == 200
    assert played[NATIVE][0].bodies[-1]["max_output_tokens"] == 16


def test_reasoning_of_another_origin_costs_one_more_try_at_most(played, http):
    """Foreign blobs are left out before they can be refused; one that only the upstream can tell, after its 400."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    for blob in ("c2ln", "tokn1.AAAA"):
        played[NATIVE][0].play(TEXT)
        items = [{"role": "user", "content": SAY}, reasoning | {"encrypted_content": blob}]
        assert http.post("/v1/responses", json={"model": NATIVE, "input": items}).status_code == 200


@pytest.mark.parametrize("carried", [True, False], ids=["carried", "kept"])
def test_signatures_come_back_to_their_own_model_alone(played, sdk, carried):
    """Carried by the caller as a sealed text, or kept by the ids of its calls; another family is never shown them."""
    played["gemini"][0].play(CALLS)
    include = ["reasoning.encrypted_content"] if carried else []
    first, _ = ask(sdk, stream=True, model="gemini", input=SAY, tools=[LOOK], include=include)
    sealed = [item.encrypted_content for item in first.output if item.type == "reasoning"]
    assert all(text.startswith("tokn1.") for text in sealed)
    assert len(sealed) == carried
    said: list[Any] = [{"role": "user", "content": SAY}]
    said += [item.model_dump(exclude_none=True) for item in first.output]
    said += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "seen"}
        for item in first.output
        if item.type == "function_call"
    ]
    for way in ("gemini", "anthropic", NATIVE):
        played[way][0].play(TEXT)
        ask(sdk, stream=False, model=way, input=said, tools=[LOOK], include=include)
        sent = json.dumps(played[way][0].bodies[-1])
        assert (f'"thoughtSignature": "{SIGNATURE}"' in sent) == (way == "gemini")
        assert "tokn1." not in sent


@every_way
def test_structured_output(played, sdk, way):
    """A schema that the SDK makes of a type goes to every family in its own words, and the answer is parsed."""
    said = Answer(('{"city":', '"Rome"}'), TokenUsage(input=40, output=6))
    played[way][0].play(said)
    parsed = sdk.responses.parse(model=way, input=SAY, text_format=Place)
    assert parsed.output_parsed == Place(city="Rome")


@pytest.fixture(scope="module")
def node(tokn):
    """OpenAI's SDK for Node."""
    with NodeSdk(tokn.url) as running:
        yield running


@every_way
def test_the_sdk_of_node(played, tokn, node, way):
    """Its own accumulator of a stream makes of it what a plain answer is, and it raises on a stream that fails."""
    made = []
    for step, stream in (("responses", False), ("response", True)):
        played[way][0].play(CALLS)
        body = {"model": way, "input": SAY, "tools": [LOOK], "stream": stream}
        made.append(node.call(step, body, tokn.key)["ok"])
    plain, streamed = ([(item["type"], item["status"]) for item in one["output"]] for one in made)
    assert plain == streamed == [("message", "completed"), *[("function_call", "completed")] * 2]
    assert [one["status"] for one in made] == ["completed"] * 2
    assert made[0]["usage"] == made[1]["usage"]
    played[way][0].play(TEXT, broken=5)
    failed = node.call("responses", {"model": way, "input": SAY, "stream": True}, tokn.key)
    assert failed["error"]["code"] == "server_error"
    for stream in (False, True):
        body = {"model": way, "input": [{"type": "item_reference", "id": "msg_x"}], "stream": stream}
        assert node.call("responses", body, tokn.key)["error"]["status"] == 404
