"""What the sandbox answers: tools, forms and refusals, as the quickstarts of frameworks expect them of a model."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from runtime.settings.settings import AccountSettings
from schemas.catalogue.builtin import BUILTIN, SANDBOX_MODEL
from tests.fakes.worker import job
from workers.providers.sandbox.family import Sandbox
from workers.providers.sandbox.script import CALLS_MAX
from workers.upstream.http import read_all

ROW = next(item for item in BUILTIN if item.id == SANDBOX_MODEL)
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str, **function: Any) -> dict[str, Any]:
    """A function."""
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **function}}


TOOLS = [tool("weather"), tool("time"), tool("news")]


async def asked(status: int = 200, **fields: Any) -> Any:
    """The body of a plain answer."""
    body = {"model": "x", "messages": [USER], **fields}
    [exchange] = Sandbox().open(job(body, model=ROW.id, upstream=ROW.upstream), ROW, {})
    answer = await Sandbox().upstream(0).open(exchange.request(AccountSettings(id="s")))
    assert answer.status == status
    return json.loads(await read_all(answer, 1_000_000))


async def streamed(**fields: Any) -> list[dict[str, Any]]:
    """The events of a streamed one."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": "x", "messages": [USER], **options, **fields}
    [exchange] = Sandbox().open(job(body, model=ROW.id, upstream=ROW.upstream), ROW, {})
    answer = await Sandbox().upstream(0).open(exchange.request(AccountSettings(id="s")))
    lines = (await read_all(answer, 1_000_000)).decode().split("\n\n")
    return [json.loads(line[6:]) for line in lines if line[6:] not in ("", "[DONE]")]


def calls(body: Any) -> list[tuple[str, Any]]:
    """Names and arguments of the calls of a first choice."""
    message = ChatCompletion.model_validate(body).choices[0].message
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


FITTING = {"city": "sandbox"}


@pytest.mark.parametrize(
    ("text", "fields", "called"),
    [
        ("hi", {}, ["weather"]),
        ("the news and the weather, please", {}, ["weather", "news"]),
        ("the news and the weather", {"parallel_tool_calls": False}, ["weather"]),
        ("hi", {"tool_choice": "required"}, ["weather"]),
        ("weather", {"tool_choice": {"type": "function", "function": {"name": "time"}}}, ["time"]),
        ("weather", {"tool_choice": "none"}, []),
        (
            "hi",
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "news"}}],
                    },
                }
            },
            ["news"],
        ),
    ],
)
async def test_tools_are_called(text: str, fields: dict[str, Any], called: list[str]) -> None:
    """Those that the last message names, else the first; one only, or the named one, if so asked; arguments fit."""
    body = await asked(messages=[{"role": "user", "content": text}], tools=TOOLS, **fields)
    assert calls(body) == [(name, FITTING) for name in called]
    assert body["choices"][0]["finish_reason"] == ("tool_calls" if called else "stop")
    assert (body["choices"][0]["message"]["content"] is None) == bool(called)


async def test_an_answer_once_results_are_there() -> None:
    """A loop of tools ends: after the results come words, even where a call was demanded."""
    first = (await asked(tools=TOOLS))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "18 °C"}
    for choice in ("auto", "required"):
        body = await asked(messages=[USER, first, result], tools=TOOLS, tool_choice=choice)
        assert calls(body) == []
        assert body["choices"][0]["message"]["content"].startswith("This is the tokn sandbox")


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS, "messages": [{"role": "user", "content": "weather, time"}], "n": 2},
        {"tools": [{"type": "custom", "custom": {"name": "patch"}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA}}},
    ],
    ids=["calls", "custom", "form"],
)
async def test_a_stream_says_the_same(fields: dict[str, Any]) -> None:
    """The deltas of each choice add up to the plain answer, ids apart, and usage is the same."""
    whole = await asked(**fields)
    events = await streamed(**fields)
    if "custom" not in str(fields):  # the SDK's type of a chunk knows functions alone
        for event in events:
            ChatCompletionChunk.model_validate(event, strict=True)
    assert events[-1]["usage"] == whole["usage"]
    ids = set()
    for choice in whole["choices"]:
        deltas = [
            one["delta"] for event in events for one in event["choices"] if one["index"] == choice["index"]
        ]
        text = "".join(delta.get("content") or "" for delta in deltas)
        assert text == (choice["message"]["content"] or "")
        said: dict[int, str] = {}
        for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
            inner = call.get("function") or call["custom"]
            said[call["index"]] = said.get(call["index"], "") + inner.get("arguments", inner.get("input"))
            ids |= {call["id"]} if "id" in call else set()
        plain = choice["message"].get("tool_calls") or []
        inners = [call.get("function") or call["custom"] for call in plain]
        assert list(said.values()) == [inner.get("arguments", inner.get("input")) for inner in inners]
        ids |= {call["id"] for call in plain}
    calls_made = sum(len(choice["message"].get("tool_calls") or ()) for choice in whole["choices"])
    assert len(ids) == 2 * calls_made


async def test_forms_fit_their_schema() -> None:
    """JSON where JSON is asked for, shaped by its schema; cut where the limit is, and then it says so."""
    shape = {"type": "json_schema", "json_schema": {"name": "f", "strict": True, "schema": SCHEMA}}
    body = await asked(response_format=shape)
    assert json.loads(body["choices"][0]["message"]["content"]) == FITTING
    free = await asked(response_format={"type": "json_object"})
    assert list(json.loads(free["choices"][0]["message"]["content"])) == ["answer"]
    cut = await asked(response_format=shape, max_tokens=1)
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 1


async def test_calls_are_cut_at_the_limit() -> None:
    """So are the arguments of calls."""
    body = await asked(tools=TOOLS, max_tokens=1)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] <= 2


async def test_ids_are_unique() -> None:
    """No two answers share an id, nor two calls of one."""
    bodies = [await asked(tools=TOOLS, messages=[{"role": "user", "content": "time news"}]) for _ in range(2)]
    ids = [body["id"] for body in bodies]
    ids += [call["id"] for body in bodies for call in body["choices"][0]["message"]["tool_calls"]]
    assert len(set(ids)) == len(ids) == 6


async def test_calls_are_bounded() -> None:
    """However many tools a message names, so many are called."""
    tools = [tool(f"t{number}") for number in range(30)]
    text = " ".join(one["function"]["name"] for one in tools)
    body = await asked(tools=tools, messages=[{"role": "user", "content": text}])
    assert len(calls(body)) == CALLS_MAX


async def test_a_schema_that_is_too_large_is_not_looked_at() -> None:
    """Its arguments are an empty form."""
    large = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(2_000)}}
    assert calls(await asked(tools=[tool("f", parameters=large)])) == [("f", {})]


CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "a", "content": "x"}]}, "messages[1].role"),
        ({"messages": [CALLED, USER]}, "messages[1].role"),
        ({"messages": [USER, CALLED]}, "messages[1].role"),
        ({"messages": [CALLED, {"role": "tool", "tool_call_id": "b", "content": "x"}]}, "messages[1].role"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
)
async def test_what_a_model_would_refuse_is_refused(fields: dict[str, Any], param: str) -> None:
    """Roles, loops of tools and what nobody weighs are a 400 that names the field, in OpenAI's shape."""
    error = (await asked(400, **fields))["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
