"""What the options of a chat request become at Gemini: tools and their choice, limits, sampling, format, reasoning."""

import json

import pytest

from tests.fakes.gemini_rules import check
from tests.workers.providers.gemini.cases import ACCOUNT, NEW, OLD, job, model, sent
from workers.providers.gemini.family import Gemini

TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"b": {"type": "string"}, "a": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"type": ["string", "null"]}},
        },
    },
}
OTHER = {"type": "function", "function": {"name": "g"}}


def config(**body):
    """The generation config of a body."""
    return sent(body).get("generationConfig")


def test_c45_c50_tools_keep_their_order_and_their_schemas():
    """Schemas go as JSON Schema, byte for byte, in the caller's order; a function without arguments has none."""
    body = job({"tools": [OTHER, TOOL]})
    (made,) = Gemini().open(body, NEW, {})
    raw = made.request(ACCOUNT).body
    (tool,) = json.loads(raw)["tools"]
    assert tool["functionDeclarations"] == [
        {"name": "g"},
        {"name": "f", "description": "d", "parametersJsonSchema": TOOL["function"]["parameters"]},
    ]
    assert json.dumps(TOOL["function"]["parameters"]).encode() in raw


@pytest.mark.parametrize(
    "parameters",
    [{}, {"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}],
)
def test_functions_without_arguments_have_no_schema(parameters):
    """An empty schema is left out: the API refuses an object without properties."""
    body = sent({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


@pytest.mark.parametrize(
    ("choice", "calling", "names"),
    [
        (None, None, ["f", "g"]),
        ("auto", None, ["f", "g"]),
        ("none", {"mode": "NONE"}, ["f", "g"]),
        ("required", {"mode": "ANY"}, ["f", "g"]),
        (
            {"type": "function", "function": {"name": "g"}},
            {"mode": "ANY", "allowedFunctionNames": ["g"]},
            ["f", "g"],
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}},
            {"mode": "ANY", "allowedFunctionNames": ["g"]},
            ["f", "g"],
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}, None, ["g"]),
    ],
)
def test_c27_tool_choice(choice, calling, names):
    """Each tool choice has its calling mode; a list of allowed tools is never dropped."""
    body = sent({"tools": [TOOL, OTHER], "tool_choice": choice})
    assert (body.get("toolConfig") or {}).get("functionCallingConfig") == calling
    assert [tool["name"] for tool in body["tools"][0]["functionDeclarations"]] == names
    check(json.dumps(body).encode(), NEW.capabilities)


def test_limits():
    """The granted limit is sent when the caller set one, when the balance sets one, and for legacy completions."""
    assert config() is None
    assert sent({"max_tokens": 5}, limit=5)["generationConfig"] == {"maxOutputTokens": 5}
    assert sent({"max_completion_tokens": 900_000}, limit=65_536)["generationConfig"] == {
        "maxOutputTokens": 65_536
    }
    assert sent({}, limit=300, write_limit=True)["generationConfig"] == {"maxOutputTokens": 300}


def test_sampling():
    """Sampling, seed, stops, choices and log probabilities have Gemini's names; defaults are left out."""
    asked = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "seed": -1,
        "stop": ["\n", "x"],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
    }
    assert sent(asked, OLD)["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 7,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "seed": 2**31 - 1,
        "stopSequences": ["\n", "x"],
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    neutral = {
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "n": 1,
        "logprobs": False,
        "user": "u",
        "store": True,
        "metadata": {"a": "b"},
        "verbosity": "low",
        "safety_identifier": "s",
    }
    assert config(**neutral) is None
    assert "generationConfig" not in sent({"temperature": 1, "top_p": 1, "seed": 3}, model(sampling=False))


def test_response_format():
    """JSON answers have the media type, and the schema as JSON Schema."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    assert config(response_format={"type": "text"}) is None
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    assert config(response_format=wanted) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }


@pytest.mark.parametrize(
    ("upstream", "effort", "thinking"),
    [
        ("gemini-1.5-pro", "none", None),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1, "includeThoughts": True}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 16_384, "includeThoughts": True}),
        ("gemini-2.5-flash-lite", "minimal", {"thinkingBudget": 512, "includeThoughts": True}),
        ("gemini-2.5-pro", "minimal", {"thinkingBudget": 128, "includeThoughts": True}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 4_096, "includeThoughts": True}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3.8-flash", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ],
)
def test_reasoning_effort_by_capability(upstream, effort, thinking):
    """Effort becomes a budget or a level, never both, by the model's row, and asks to see what it gives; the API's own rules take it."""
    row = model(upstream)
    assert effort in row.capabilities.efforts
    body = sent({"reasoning_effort": effort}, row)
    assert (body.get("generationConfig") or {}).get("thinkingConfig") == thinking
    check(json.dumps(body).encode(), row.capabilities)


def test_service_tier():
    """A tier goes out only where the row prices it."""
    assert sent({"service_tier": "flex"}, model(service_tiers=("flex",)))["serviceTier"] == "flex"
    assert "serviceTier" not in sent({"service_tier": "default"}, model(service_tiers=("flex",)))
