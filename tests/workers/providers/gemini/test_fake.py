"""The fake is as strict as the API: Google's own SDK accepts its answers, and it refuses what the real one refuses."""

import asyncio
import json

import aiohttp
import pytest

from runtime.settings.settings import AccountSettings
from tests.fakes.gemini import API_KEY, FakeGemini, Script, error_body
from tests.workers.providers.gemini.cases import NEW, exchange, fixture, job, model, stream_job
from workers.providers.base import Action, Exchange
from workers.providers.gemini.family import Gemini

TEXT = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CALL = {"functionCall": {"name": "f", "args": {}}}
SIGNED = CALL | {"thoughtSignature": "QQ=="}
RESULT = {"functionResponse": {"name": "f", "response": {"output": "x"}}}


@pytest.fixture
def fake():
    """A running fake."""
    with FakeGemini() as running:
        yield running


@pytest.fixture
def genai():
    """Google's own SDK."""
    from google import genai  # noqa: PLC0415  two seconds for each process that collects the tests, used or not

    return genai


def sdk(fake, key=API_KEY):
    """Google's own client, pointed at the fake."""
    from google import genai  # noqa: PLC0415  as above

    return genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=fake.base_url))


async def fetch(fake, made: Exchange, account) -> bytes:
    """What a caller gets when an exchange's call goes over HTTP, as a worker would make it."""
    request = made.request(account)
    async with (
        aiohttp.ClientSession() as session,
        session.post(request.url, data=request.body, headers=request.headers) as answer,
    ):
        if answer.status != 200:
            made.fault = Gemini().fault(answer.status, answer.headers, await answer.read())
            return b""
        if "alt=sse" not in request.url:
            return made.answer(await answer.read())
        out = b""
        try:
            async for data in answer.content.iter_any():
                out += made.feed(data)
        except aiohttp.ClientPayloadError:
            return out
        return out + made.close()


def account(fake):
    """An account at the fake."""
    return AccountSettings(id="main", api_key=API_KEY, base_url=fake.base_url)


def test_the_sdk_accepts_a_plain_answer(fake, genai):
    """google-genai reads the fake's plain answer: text, usage, finish reason."""
    with sdk(fake) as client:
        answer = client.models.generate_content(model="gemini-x", contents="hi")
    assert answer.text == "Hello"
    assert answer.usage_metadata.total_token_count == 5
    assert answer.candidates[0].finish_reason is genai.types.FinishReason.STOP


@pytest.mark.parametrize("name", ["e2.jsonl", "parallel.jsonl", "text.jsonl", "choices.jsonl", "e6.jsonl"])
def test_the_sdk_accepts_every_fixture_streamed(fake, name):
    """google-genai reads every fixture as a stream, and as the plain answer that it adds up to."""
    events = fixture(name)
    fake.play(Script(events=events), Script(events=events))
    with sdk(fake) as client:
        streamed = list(client.models.generate_content_stream(model="gemini-x", contents="hi"))
        plain = client.models.generate_content(model="gemini-x", contents="hi")
    assert len(streamed) == len(events)
    assert plain.usage_metadata == streamed[-1].usage_metadata
    assert not fake.refusals


def test_the_sdk_and_we_are_judged_alike(fake, genai):
    """A tool loop of google-genai's own passes the fake's rules, signature and all; without it the fake says 400."""
    fake.play(Script(events=fixture("e2.jsonl")))
    types = genai.types
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="f")])
    config = types.GenerateContentConfig(
        tools=[tool], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    user = types.UserContent("hi")
    with sdk(fake) as client:
        first = client.models.generate_content(model="gemini-x", contents=[user], config=config)
        said = first.candidates[0].content
        said.parts = [part for part in said.parts if part.function_call]
        result = types.UserContent(types.Part.from_function_response(name="f", response={"a": 1}))
        second = client.models.generate_content(
            model="gemini-x", contents=[user, said, result], config=config
        )
        assert second.text == "Hello"
        said.parts[0].thought_signature = None
        with pytest.raises(genai.errors.ClientError, match="thought_signature"):
            client.models.generate_content(model="gemini-x", contents=[user, said, result], config=config)


def test_the_sdk_raises_the_fakes_errors(fake, genai):
    """Errors of the fake are errors for google-genai: a wrong key, a model that is gone, a scripted status."""
    with sdk(fake, "wrong") as client, pytest.raises(genai.errors.ClientError, match="API_KEY_INVALID"):
        client.models.generate_content(model="gemini-x", contents="hi")
    fake.gone.add("gemini-old")
    fake.play(Script(status=503, error=error_body(503, "UNAVAILABLE", "busy"), wrapped=True))
    with sdk(fake) as client:
        with pytest.raises(genai.errors.ClientError, match="NOT_FOUND"):
            client.models.generate_content(model="gemini-old", contents="hi")
        with pytest.raises(genai.errors.ServerError, match="busy"):
            client.models.generate_content(model="gemini-x", contents="hi")


def turns(*parts):
    """A body of alternating turns."""
    roles = ("user", "model")
    return {"contents": [{"role": roles[k % 2], "parts": list(one)} for k, one in enumerate(parts)]}


HI = [{"text": "hi"}]
FUNCTION = {"functionDeclarations": [{"name": "f"}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents is not specified"),
        (TEXT | {"unknown": 1}, "Extra inputs"),
        (TEXT | {"generationConfig": {"max_tokens": 1}}, "Extra inputs"),
        (TEXT | {"generationConfig": {"audioTimestamp": True}}, "not supported"),
        (TEXT | {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}}, "ThinkingLevel"),
        (
            TEXT | {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 1}}},
            "only one",
        ),
        (TEXT | {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}, "budget"),
        (TEXT | {"generationConfig": {"stopSequences": list("abcdef")}}, "stop_sequences"),
        (TEXT | {"generationConfig": {"candidateCount": 2}}, "candidateCount"),
        (TEXT | {"generationConfig": {"temperature": 3}}, "temperature"),
        (TEXT | {"generationConfig": {"logprobs": 3}}, "response_logprobs"),
        (
            TEXT
            | {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {},
                    "responseJsonSchema": {},
                }
            },
            "mutually exclusive",
        ),
        (TEXT | {"generationConfig": {"responseJsonSchema": {}}}, "mime type"),
        ({"contents": [{"role": "assistant", "parts": HI}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        (turns([{"text": ""}]), "text parameter"),
        (turns([{"text": "a", "inlineData": {"mimeType": "image/png", "data": "QQ=="}}]), "oneof"),
        (turns([{"inlineData": {"mimeType": "image/bmp", "data": "QQ=="}}]), "MIME"),
        (turns([{"inlineData": {"mimeType": "image/png", "data": "***"}}]), "base64"),
        (turns([{"fileData": {"fileUri": "https://example.com/x.png"}}]), "fetch"),
        ({"contents": [{"role": "model", "parts": HI}, {"role": "user", "parts": HI}]}, "start with a user"),
        (turns(HI, HI), "end with a user"),
        (turns(HI, [SIGNED], HI), "number of function response"),
        (turns(HI, HI, [RESULT]), "immediately after a function call"),
        (turns(HI, [SIGNED, CALL], [RESULT]), "number of function response"),
        (turns(HI, [SIGNED], [{"functionResponse": {"name": "", "response": {}}}]), "Name cannot be empty"),
        (turns(HI, [SIGNED], [{"functionResponse": {"name": "g", "response": {}}}]), "does not match"),
        (
            turns(HI, [SIGNED], [{"functionResponse": {"name": "f", "response": {"a": {"$ref": "#/x"}}}}]),
            "reference",
        ),
        (turns(HI, [CALL], [RESULT]), "thought_signature"),
        (TEXT | {"tools": [{"functionDeclarations": [{"name": "1f"}]}]}, "Invalid function name"),
        (TEXT | {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, "Duplicate"),
        (
            TEXT
            | {
                "tools": [
                    {"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}
                ]
            },
            "mutually exclusive",
        ),
        (TEXT | {"tools": [{"functionDeclarations": []}]}, "one tool_type"),
        (TEXT | {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "without function_declarations"),
        (
            TEXT
            | {
                "tools": [FUNCTION],
                "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
            },
            "not ANY",
        ),
        (
            TEXT
            | {
                "tools": [FUNCTION],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
            },
            "declared",
        ),
    ],
)
async def test_the_fake_refuses_what_the_api_refuses(fake, body, said):
    """Each of the API's rules is one of the fake's: a 400 INVALID_ARGUMENT that says which."""
    url = f"{fake.base_url}/v1beta/models/gemini-x:generateContent"
    async with (
        aiohttp.ClientSession(headers={"x-goog-api-key": API_KEY}) as session,
        session.post(url, json=body) as answer,
    ):
        error = (await answer.json())["error"]
    assert answer.status == 400
    assert error["status"] == "INVALID_ARGUMENT"
    assert said in error["message"]
    assert not fake.calls


async def test_the_key_travels_in_its_header_only(fake):
    """A key in the URL is refused, like none."""
    url = f"{fake.base_url}/v1beta/models/gemini-x:generateContent"
    async with aiohttp.ClientSession() as session, session.post(f"{url}?key={API_KEY}", json=TEXT) as answer:
        assert answer.status == 403
    async with (
        aiohttp.ClientSession(headers={"x-goog-api-key": API_KEY}) as session,
        session.post(f"{url}?key={API_KEY}", json=TEXT) as answer,
    ):
        assert answer.status == 403


async def test_json_beside_tools_only_from_the_third_generation_on(fake):
    """An older model refuses a JSON answer beside functions."""
    body = TEXT | {"tools": [FUNCTION], "generationConfig": {"responseMimeType": "application/json"}}
    async with aiohttp.ClientSession(headers={"x-goog-api-key": API_KEY}) as session:
        for upstream, status in (("gemini-1.5-pro", 400), ("gemini-x", 200)):
            url = f"{fake.base_url}/v1beta/models/{upstream}:generateContent"
            async with session.post(url, json=body) as answer:
                assert answer.status == status


async def test_plain_and_streamed_over_http(fake):
    """An exchange's own request passes the fake, and its answer comes back whole, at any pace."""
    plain = exchange(job({}))
    body = json.loads(await fetch(fake, plain, account(fake)))
    assert body["choices"][0]["message"]["content"] == "Hello"
    fake.play(Script(events=fixture("parallel.jsonl"), pace_s=0.005))
    streamed = exchange(stream_job())
    await fetch(fake, streamed, account(fake))
    assert streamed.finished
    assert streamed.thoughts == {"fc1": "c2lnMQ=="}
    assert all(call.finished for call in fake.calls)
    assert all(call.headers["x-goog-api-key"] == API_KEY for call in fake.calls)


@pytest.mark.parametrize("how", ["cut", "end"])
async def test_cuts_over_http_are_never_a_clean_end(fake, how):
    """A connection that breaks, or a body that ends, after any event but the last leaves no finished exchange."""
    events = fixture("e2.jsonl")
    for count in range(len(events)):
        fake.play(Script(events=events, **{how: count}))
        made = exchange(stream_job())
        out = await asyncio.wait_for(fetch(fake, made, account(fake)), 10)
        assert not made.finished
        assert b'"finish_reason":"' not in out


async def test_faults_over_http(fake):
    """Statuses, wrapped errors and a model that is gone arrive as their faults."""
    fake.play(Script(status=429, wrapped=True))
    fake.gone.add("gemini-old")
    limited, gone = exchange(job({})), exchange(job({}), model("gemini-old"))
    await fetch(fake, limited, account(fake))
    await fetch(fake, gone, account(fake))
    assert limited.fault.action is Action.COOL
    assert gone.fault.action is Action.GONE


async def test_c46_a_tool_loop_keeps_its_signature(fake):
    """The signature of one turn, looked up by the call's id in the next, satisfies the API's validator."""
    fake.play(Script(events=fixture("e2.jsonl")))
    first = exchange(job({}))
    message = json.loads(await fetch(fake, first, account(fake)))["choices"][0]["message"]
    (call_id,) = first.thoughts
    history = [
        {"role": "user", "content": "hi"},
        message,
        {"role": "tool", "tool_call_id": call_id, "content": "21"},
    ]
    next_job = job({"messages": history})
    known = {name: first.thoughts[name] for name in Gemini().thought_ids(next_job)}
    for thoughts, signature in ((known, "c2ln"), ({}, "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=")):
        made = exchange(next_job, NEW, thoughts)
        assert await fetch(fake, made, account(fake))
        assert fake.calls[-1].body["contents"][1]["parts"][0]["thoughtSignature"] == signature
    assert not fake.refusals
