"""What is refused before any hold: each rule of docs/providers, by capability row, with its parameter's path."""

import base64
import json

import msgspec
import pytest

from schemas.catalogue.anthropic import anthropic_capabilities
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.profiles import profiled
from schemas.chat.refusals import PROMPTS_MAX, as_chats, read, refuse
from schemas.chat.request import CHAT, COMPLETIONS

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
ROWS = {model.id: model for model in BUILTIN}
OLD = ROWS["claude-3-5-sonnet-20241022"]
TITAN = ROWS["amazon.titan-text-express-v1"]
GEMINI = ROWS["gemini-1.5-pro-latest"]


def claude(upstream, **able):
    """A row of an Anthropic model."""
    row = msgspec.structs.replace(anthropic_capabilities(upstream), **able)
    return msgspec.structs.replace(OLD, capabilities=row)


def part(kind, **fields):
    """A user's message with one part."""
    return {"messages": [{"role": "user", "content": [{"type": kind, **fields}]}]}


def refusal(body, model=OLD, dialect=CHAT):
    """What is refused of a body; what is left out of it is made up."""
    whole = ({"messages": [USER]} if dialect == CHAT else {}) | {"model": model.id} | body
    return refuse(model, dialect, json.dumps(whole).encode())


REFUSED = [
    # param, code, body
    ("n", "unsupported_parameter", {"n": 2}),
    ("n", "invalid_value", {"n": 0}),
    ("logprobs", "unsupported_parameter", {"logprobs": True}),
    ("top_logprobs", "unsupported_parameter", {"top_logprobs": 2}),
    ("logit_bias", "unsupported_parameter", {"logit_bias": {"1": 5}}),
    ("functions", "unsupported_parameter", {"functions": [{"name": "f"}]}),
    ("function_call", "unsupported_parameter", {"function_call": "auto"}),
    ("audio", "unsupported_parameter", {"audio": {"voice": "a", "format": "wav"}}),
    ("modalities", "unsupported_value", {"modalities": ["text", "audio"]}),
    ("prediction", "unsupported_parameter", {"prediction": {"type": "content", "content": "x"}}),
    ("web_search_options", "unsupported_parameter", {"web_search_options": {"search_context_size": "low"}}),
    ("moderation", "unsupported_parameter", {"moderation": {"model": "x"}}),
    ("presence_penalty", "unsupported_parameter", {"presence_penalty": 0.5}),
    ("frequency_penalty", "unsupported_parameter", {"frequency_penalty": -1}),
    ("temperature", "invalid_value", {"temperature": 2.1}),
    ("top_p", "invalid_value", {"top_p": -0.1}),
    ("max_tokens", "invalid_value", {"max_tokens": 0}),
    ("service_tier", "unsupported_value", {"service_tier": "flex"}),
    ("stream_options", None, {"stream_options": {"include_usage": True}}),
    ("stop", "unsupported_value", {"stop": "\n"}),
    ("stop[1]", "unsupported_value", {"stop": ["END", " \t"]}),
    ("stop", "invalid_value", {"stop": ""}),
    ("reasoning_effort", "unsupported_value", {"reasoning_effort": "high"}),
    ("messages", "invalid_value", {"messages": []}),
    ("messages", "invalid_type", {"messages": None}),
    ("messages", "invalid_value", {"messages": [{"role": "user", "content": "  "}]}),
    ("messages[0].role", "invalid_value", {"messages": [{"role": "robot", "content": "x"}]}),
    ("messages[0].role", "missing_required_parameter", {"messages": [{"content": "x"}]}),
    ("messages[0].content", "missing_required_parameter", {"messages": [{"role": "user"}]}),
    ("messages[0].content", "invalid_type", {"messages": [{"role": "user", "content": 7}]}),
    ("messages[1].content", "missing_required_parameter", {"messages": [USER, {"role": "assistant"}]}),
    ("messages[0].content[0].type", "invalid_value", part("video", video="x")),
    (
        "messages[0].content[0].type",
        "unsupported_value",
        part("input_audio", input_audio={"data": "x", "format": "wav"}),
    ),
    (
        "messages[0].content[0].image_url.url",
        "unsupported_value",
        part("image_url", image_url={"url": "https://a.test/x"}),
    ),
    (
        "messages[0].content[0].image_url.url",
        "invalid_value",
        part("image_url", image_url={"url": "data:image/png,x"}),
    ),
    (
        "messages[0].content[0].image_url.url",
        "unsupported_value",
        part("image_url", image_url={"url": "data:image/bmp;base64,AA=="}),
    ),
    ("messages[0].content[0].file.file_id", "unsupported_value", part("file", file={"file_id": "file-1"})),
    (
        "messages[0].content[0].file.file_data",
        "missing_required_parameter",
        part("file", file={"filename": "a"}),
    ),
    (
        "messages[0].content[0].file.file_data",
        "unsupported_value",
        part("file", file={"file_data": "AA==", "filename": "a.docx"}),
    ),
    (
        "messages[0].content[0].file.file_data",
        "invalid_value",
        part("file", file={"file_data": base64.b64encode(b"\xff").decode(), "filename": "a.txt"}),
    ),
    (
        "messages[0].content[0].type",
        "invalid_value",
        {
            "messages": [
                {"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
                USER,
            ]
        },
    ),
    ("messages[0].content[0].type", "invalid_value", part("refusal", refusal="no")),
    (
        "messages[1].audio",
        "unsupported_parameter",
        {"messages": [USER, {"role": "assistant", "audio": {"id": "x"}}]},
    ),
    ("messages[1].tool_calls", "invalid_value", {"messages": [USER, CALLED]}),
    ("messages[1].tool_calls", "invalid_value", {"messages": [USER, CALLED, USER]}),
    ("messages[1].tool_call_id", "invalid_value", {"messages": [USER, RESULT]}),
    ("messages[4].tool_call_id", "invalid_value", {"messages": [USER, CALLED, RESULT, USER, RESULT]}),
    (
        "messages[1].tool_call_id",
        "missing_required_parameter",
        {"messages": [USER, {"role": "tool", "content": "x"}]},
    ),
    (
        "messages[1].tool_calls[0].type",
        "unsupported_value",
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}],
                },
            ]
        },
    ),
    (
        "messages[1].tool_calls[1].id",
        "invalid_value",
        {"messages": [USER, {"role": "assistant", "tool_calls": [CALL, CALL]}]},
    ),
    ("tools[0].type", "unsupported_value", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
    ("tools[0].type", "invalid_value", {"tools": [{"type": "web_search"}]}),
    ("tools[0].function", "missing_required_parameter", {"tools": [{"type": "function"}]}),
    (
        "tools[0].function.name",
        "invalid_value",
        {"tools": [{"type": "function", "function": {"name": "a" * 257}}]},
    ),
    ("tools[1].function.name", "invalid_value", {"tools": [TOOL, TOOL]}),
    (
        "tools[0].function.parameters",
        "invalid_function_parameters",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
    ),
    ("tool_choice", "invalid_value", {"tool_choice": "sometimes"}),
    ("tool_choice", "invalid_value", {"tool_choice": "required"}),
    (
        "tool_choice",
        "invalid_value",
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    ),
    (
        "tool_choice.function.name",
        "missing_required_parameter",
        {"tools": [TOOL], "tool_choice": {"type": "function"}},
    ),
    (
        "tool_choice.type",
        "unsupported_value",
        {"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
    ),
    (
        "tool_choice.allowed_tools.tools",
        "invalid_value",
        {
            "tools": [TOOL],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        },
    ),
    ("response_format", "unsupported_parameter", {"tools": [TOOL], "response_format": SCHEMA}),
    ("response_format.type", "invalid_value", {"response_format": {"type": "yaml"}}),
    (
        "response_format.json_schema",
        "missing_required_parameter",
        {"response_format": {"type": "json_schema"}},
    ),
    (
        "response_format.json_schema.schema",
        "missing_required_parameter",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    ),
    (
        "cache_control",
        "unsupported_value",
        {"messages": [USER | {"cache_control": {"type": "ephemeral"}}] * 5},
    ),
    ("cache_control", "unsupported_value", {"cache_control": {"type": "ephemeral", "ttl": "2h"}}),
]


@pytest.mark.parametrize(("param", "code", "body"), REFUSED)
def test_refused(param, code, body):
    """Each is a 400 with OpenAI's type, a code, and the path of the parameter."""
    error = refusal(body)
    assert error is not None
    assert (error.status, error.type, error.code, error.param) == (400, "invalid_request_error", code, param)


SERVED = [
    {},
    {"n": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "stop": None, "store": True, "seed": 1},
    {"temperature": 1.8, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "top_k": 3},
    {"service_tier": "auto", "metadata": {"a": "b"}, "verbosity": "low", "modalities": ["text"], "user": "u"},
    {"reasoning_effort": "none", "stop": ["a", "b"], "tool_choice": "auto", "tools": []},
    {"messages": [USER, CALLED, RESULT], "tools": [TOOL], "parallel_tool_calls": False},
    {"messages": [USER, CALLED, {"role": "system", "content": "s"}, RESULT, USER], "tools": [TOOL]},
    {"messages": [USER, {"role": "assistant", "content": "so"}]},
    {"response_format": SCHEMA},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "text"}, "tools": [TOOL], "tool_choice": "required"},
    part("image_url", image_url={"url": "data:image/jpg;base64,AA=="}),
    {"of_another_day": [1]},
]


@pytest.mark.parametrize("body", SERVED)
def test_served(body):
    """What a model honours, or may ignore, passes."""
    assert refusal(body) is None


@pytest.mark.parametrize(
    ("model", "param", "body"),
    [
        (claude("claude-opus-4-8"), "temperature", {"temperature": 0.5}),
        (claude("claude-opus-4-8"), "top_k", {"top_k": 5}),
        (claude("claude-opus-4-8"), "messages", {"messages": [USER, {"role": "assistant", "content": "x"}]}),
        (claude("claude-opus-4-1"), "top_p", {"temperature": 0.5, "top_p": 0.5}),
        (claude("claude-opus-4-1"), "temperature", {"reasoning_effort": "low", "temperature": 0}),
        (claude("claude-opus-4-1"), "reasoning_effort", {"reasoning_effort": "low", "max_tokens": 1000}),
        (
            claude("claude-opus-4-1"),
            "tool_choice",
            {"reasoning_effort": "low", "tools": [TOOL], "tool_choice": "required"},
        ),
        (
            claude("claude-opus-4-1"),
            "response_format",
            {"reasoning_effort": "low", "response_format": SCHEMA},
        ),
        (claude("claude-opus-4-6"), "reasoning_effort", {"reasoning_effort": "xhigh"}),
        (claude("claude-opus-5-5"), "reasoning_effort", {"reasoning_effort": "none"}),
        (claude("claude-opus-5-5"), "tool_choice", {"tools": [TOOL], "tool_choice": "required"}),
        (claude("claude-3-5", stream=False), "stream", {"stream": True}),
        (TITAN, "tools", {"tools": [TOOL]}),
        (TITAN, "stop", {"stop": "END"}),
        (TITAN, "response_format.type", {"response_format": {"type": "json_object"}}),
        (TITAN, "messages[1].tool_calls", {"messages": [USER, CALLED, RESULT]}),
        (GEMINI, "parallel_tool_calls", {"tools": [TOOL], "parallel_tool_calls": False}),
        (GEMINI, "stop", {"stop": list("abcdef")}),
        (GEMINI, "n", {"n": 9}),
    ],
)
def test_refused_by_row(model, param, body):
    """What differs between models follows from their rows."""
    error = refusal(body, model)
    assert error is not None
    assert error.param == param
    assert error.code.startswith("unsupported_")


@pytest.mark.parametrize("effort", ["low", "max"])
def test_efforts_by_row(effort):
    """The same request passes where the row has it."""
    assert refusal({"reasoning_effort": effort, "temperature": 1}, claude("claude-opus-4-8")) is None
    assert refusal({"reasoning_effort": effort}, claude("claude-opus-4-1")) is None


BAD_COMPLETIONS = [
    ("prompt", "missing_required_parameter", {}),
    ("prompt", "missing_required_parameter", {"prompt": []}),
    ("prompt", "unsupported_value", {"prompt": [1, 2]}),
    ("prompt", "unsupported_value", {"prompt": [[1], [2]]}),
    ("prompt", "unsupported_value", {"prompt": " "}),
    ("prompt", "unsupported_value", {"prompt": ["a"] * (PROMPTS_MAX + 1)}),
    ("suffix", "unsupported_parameter", {"prompt": "a", "suffix": "b"}),
    ("best_of", "unsupported_parameter", {"prompt": "a", "best_of": 2}),
    ("logit_bias", "unsupported_parameter", {"prompt": "a", "logit_bias": {"1": 1}}),
    ("logprobs", "unsupported_parameter", {"prompt": "a", "logprobs": 0, "echo": True}),
    ("logprobs", "invalid_value", {"prompt": "a", "logprobs": 6}),
]


@pytest.mark.parametrize("model", [OLD, GEMINI, TITAN, ROWS["gpt-4o"]], ids=lambda model: model.id)
@pytest.mark.parametrize(("param", "code", "body"), BAD_COMPLETIONS)
def test_a8_completions_that_cannot_be_emulated(param, code, body, model):
    """What has no equal in chat is refused on every model whose completions are emulated."""
    error = refusal(body, model, COMPLETIONS)
    assert error is not None
    assert (error.status, error.code, error.param) == (400, code, param)


@pytest.mark.parametrize("family", ["openai", "anthropic"])
def test_a_completions_model_takes_no_chat(family):
    """Whoever serves it, passed through or translated: the 400 names the route, and that route takes it."""
    able = Capabilities(chat=False, completions=True)
    model = msgspec.structs.replace(OLD, id="instruct", family=family, capabilities=able)
    error = refusal({}, model)
    assert (error.status, error.param) == (400, "model")
    assert "/v1/completions" in error.message
    assert refusal({"prompt": "hi"}, model, COMPLETIONS) is None


def test_a8_completions_that_can():
    """Prompts, echo, best_of 1 and stops pass, and become a chat request a prompt."""
    body = {"prompt": ["a", "b"], "echo": True, "best_of": 1, "stop": "END", "max_tokens": 5}
    assert refusal(body, OLD, COMPLETIONS) is None
    chats = as_chats(read(COMPLETIONS, json.dumps(body | {"model": "m"}).encode()))
    assert [chat.messages[0].content for chat in chats] == ["a", "b"]
    assert refusal({"prompt": "a", "logprobs": 2}, GEMINI, COMPLETIONS) is None
    assert refusal({"prompt": "a", "n": 2}, OLD, COMPLETIONS).param == "n"


def test_providers_that_judge_for_themselves():
    """A pass-through provider gets what its caller sent."""
    assert refusal({"n": 0, "of_another_day": 1}, ROWS["gpt-4o"]) is None
    assert refusal({"prompt": [1]}, ROWS["tokn-sandbox"], COMPLETIONS) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"model":"m","messages":' + b"[" * 100_000,
        b'{"messages":"\xed\xa0\x80"}',
    ],
)
def test_hostile_bodies(body):
    """Bodies that are no request are a 400, never an exception."""
    for dialect in (CHAT, COMPLETIONS):
        error = refuse(OLD, dialect, body)
        assert error is not None
        assert error.status == 400


def test_missing_messages():
    """A body without messages is told which parameter is missing."""
    error = refuse(OLD, CHAT, b'{"model":"m"}')
    assert (error.code, error.param) == ("missing_required_parameter", "messages")


def test_deep_arguments_and_schemas():
    """Nesting inside arguments and schemas is bounded too."""
    deep = "[" * 50_000 + "]" * 50_000
    call = CALL | {"function": {"name": "f", "arguments": '{"a":' + deep + "}"}}
    error = refusal({"messages": [USER, {"role": "assistant", "tool_calls": [call]}, RESULT]})
    assert error.param == "messages[1].tool_calls[0].function.arguments"


def test_messages_name_model_and_provider():
    """A refusal says which model of which provider it is about."""
    message = refusal({"logprobs": True}).message
    assert "claude-3-5-sonnet-20241022" in message
    assert "anthropic" in message


def test_a_chat_model_is_needed_for_chat():
    """A model that has no chat is told so."""
    row = Model(
        id="m",
        pool="p",
        upstream="u",
        provider="x",
        context=9,
        max_output=9,
        capabilities=Capabilities(chat=False),
    )
    assert refusal({}, row).param == "model"


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"logprobs": True},
        {"stop": "END"},
    ],
)
def test_some_options_are_honoured_only_while_a_model_does_not_reason(option):
    """Where the row says so, the option is a 400 beside any effort but none, an unset one being the model's default."""
    able = profiled("openai", "gpt-6-sol")
    model = msgspec.structs.replace(OLD, capabilities=able)
    assert refusal(option | {"reasoning_effort": "none"}, model) is None
    quiet = msgspec.structs.replace(able, effort_default="none")
    assert refusal(option, msgspec.structs.replace(OLD, capabilities=quiet)) is None
    for said in ({}, {"reasoning_effort": "low"}):
        error = refusal(option | said, model)
        assert error is not None
        assert (error.status, error.param, error.code) == (400, next(iter(option)), "unsupported_parameter")


@pytest.mark.parametrize(
    ("able", "path"), [({"completions": True}, "completions"), ({"responses": True}, "responses")]
)
def test_a_model_without_chat_is_refused_for_every_family(able, path):
    """The 400 says by which route it answers; a provider that judges for itself is not asked either."""
    for family in ("openai", "sandbox", "anthropic"):
        row = msgspec.structs.replace(OLD, family=family, capabilities=Capabilities(chat=False, **able))
        error = refusal({}, row)
        assert (error.status, error.param) == (400, "model")
        assert f"/v1/{path}" in error.message
        legacy = refusal({"prompt": "hi"}, row, COMPLETIONS)
        assert (legacy is None) == (path == "completions")
