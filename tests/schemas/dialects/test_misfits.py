"""Bodies that a provider would have refused: told to their callers at once, with the field, or mended on the way."""

import json
from typing import Any

import pytest
from msgspec import structs

from runtime.catalogue.presets import presets
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.profiles import profiled
from schemas.chat.kinds import CHAT_KINDS, COMPLETION_KINDS
from schemas.chat.priced import RequestError
from schemas.dialects import NAMED
from schemas.dialects.messages.fields import KINDS as MESSAGE_KINDS
from schemas.errors import WireError
from schemas.responses.response import Shape

SAY: list[Any] = [{"role": "user", "content": "hi"}]
MARK = {"cache_control": {"type": "ephemeral"}}
PNG = "data:image/png;base64,iVBORw0KGgo="
SOUND: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": SAY},
    "completions": {"model": "m", "prompt": "hi"},
    "messages": {"model": "m", "max_tokens": 9, "messages": SAY},
    "responses": {"model": "m", "input": "hi"},
}


def model(provider: str = "openai", upstream: str = "gpt-4o", **able: Any) -> Model:
    """A row at its vendor's own address."""
    return Model(
        id="m",
        pool="p",
        provider=provider,
        upstream=upstream,
        context=100_000,
        max_output=1_000,
        capabilities=structs.replace(profiled(provider, upstream), **able),
        forwards=presets()[provider].sends((), own=True),
    )


def refused(dialect: str, row: Model, **more: Any) -> WireError | None:
    """What the edge says to a body before any hold; None if it goes on."""
    spoken = NAMED[dialect]
    fields = spoken.decode(json.dumps(SOUND[dialect] | more).encode())
    try:
        spoken.bound(fields, spoken.read(fields), row)
    except RequestError as refusal:
        return refusal.error
    return spoken.refuse(row, spoken.encode(fields))


NATIVE = {
    "chat": (CHAT_KINDS, model()),
    "completions": (COMPLETION_KINDS, structs.replace(model(), capabilities=Capabilities(chat=False, completions=True))),
    "messages": (MESSAGE_KINDS, model("anthropic", "claude-opus-4-8")),
}  # fmt: skip


@pytest.mark.parametrize("dialect", NATIVE)
def test_a_value_of_the_wrong_kind_is_not_passed_on(dialect):
    """Where a provider judges values itself, none of a kind that no version of the field takes reaches it."""
    told, row = NATIVE[dialect]
    wrong = {b'"': "x", b"-": 1, b"t": True, b"[": [], b"{": {}}
    for name, begins in told.items():
        for start, value in wrong.items():
            if start not in begins:
                error = refused(dialect, row, **{name: value})
                assert error is not None, (name, value)
                assert (error.status, error.param and error.param.split(".")[0]) == (400, name), error


@pytest.mark.parametrize("dialect", NATIVE)
def test_null_is_absent(dialect):
    """A null is refused for no field, and no null reaches Anthropic, which takes none."""
    told, row = NATIVE[dialect]
    for name in told:
        if name != "prompt":
            assert refused(dialect, row, **{name: None}) is None, name
    fields = NAMED["messages"].decode(
        json.dumps(SOUND["messages"] | {"system": None, "top_k": None}).encode()
    )
    assert json.loads(NAMED["messages"].encode(fields)).keys() == SOUND["messages"].keys()
    assert NAMED["messages"].read(fields).dropped == ()


@pytest.mark.parametrize(
    ("dialect", "more", "param"),
    [
        ("messages", {"stop_sequences": ["a"] * 5}, "stop_sequences"),
        ("messages", {"top_p": 2}, "top_p"),
        ("messages", {"temperature": 9}, "temperature"),
        ("messages", {"messages": [{"role": "user", "content": []}]}, "messages"),
        ("responses", {"temperature": 9}, "temperature"),
        ("responses", {"top_logprobs": 21}, "top_logprobs"),
        ("responses", {"top_logprobs": -1}, "top_logprobs"),
        ("responses", {"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input"),
        (
            "responses",
            {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": PNG}]}]},
            "input[0].content[0]",
        ),
    ],
)
def test_what_no_chat_server_takes_is_the_callers_400(dialect, more, param):
    """Through chat a server of OpenAI's protocol is sent nothing that it must refuse: the caller is told of his own field."""
    error = refused(dialect, model(), **more)
    assert error is not None
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize("more", [{"top_logprobs": 21}, {"temperature": 9}, {"top_p": -1}])
def test_a_native_responses_body_is_held_to_the_same_ranges(more):
    """Where the upstream speaks Responses itself, too."""
    error = refused("responses", model(responses=True), **more)
    assert error is not None
    assert (error.status, error.param) == (400, next(iter(more)))


@pytest.mark.parametrize(
    ("provider", "upstream", "marked"),
    [("openai", "gpt-6-sol", False), ("openai", "gpt-4o", False), ("bedrock", "anthropic.claude-opus-4-8-v1:0", True)],
)  # fmt: skip
def test_cache_marks_reach_only_who_knows_them(provider, upstream, marked):
    """OpenAI has breakpoints of another name and refuses `cache_control`: it is sent none, and the caller is told so."""
    body = SOUND["messages"] | MARK
    body["tools"] = [{"name": "f", "input_schema": {"type": "object"}} | MARK]
    body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "hi"} | MARK]}]
    spoken, row = NAMED["messages"], model(provider, upstream)
    fields = spoken.decode(json.dumps(body).encode())
    request = spoken.translate(row, spoken.encode(fields))
    content = request.messages[-1].content
    found = [request.cache_control, request.tools[0].cache_control]
    found.append(None if isinstance(content, str) else content[0].cache_control)
    assert [mark is not None for mark in found] == [marked] * 3
    assert ("cache_control" in spoken.bound(fields, spoken.read(fields), row).dropped) is not marked


def test_a_refusal_that_nobody_refused_is_a_text():
    """Only an assistant refuses: in a user's message or a tool's output the words go on as words."""
    refusal = {"type": "refusal", "refusal": "no"}
    items = [
        {"role": "user", "content": [refusal]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [refusal]},
    ]
    request = NAMED["responses"].translate(model(), json.dumps({"model": "m", "input": items}).encode())
    assert [part.text for part in request.messages[0].content] == ["no"]
    assert request.messages[2].content == "no"
    assert len(request.messages) == 3


def test_a_content_without_parts_is_an_empty_text():
    """Servers take no empty array where an empty text will do."""
    body = {"model": "m", "input": [{"role": "system", "content": []}, {"role": "user", "content": "hi"}]}
    request = NAMED["responses"].translate(model(), json.dumps(body).encode())
    assert request.messages[0].content == ""


def test_anthropics_envelope_names_the_field():
    """It has no place for a `param`: the message begins with it, once."""
    error = WireError(400, "invalid_request_error", "no price", None, "cache_control.ttl")
    told = json.loads(NAMED["messages"].error_body(error, "r"))["error"]["message"]
    assert told == "cache_control.ttl: no price"
    twice = structs.replace(error, message="cache_control.ttl: no price")
    assert json.loads(NAMED["messages"].error_body(twice, "r"))["error"]["message"] == told


@pytest.mark.parametrize("store", [{}, {"store": None}, {"store": False}, {"store": True}])
def test_whatever_is_said_of_storing_is_served(store):
    """Clients never say it of themselves: absent, null, false and true are all served, and none is named as ignored."""
    assert refused("responses", model(), **store) is None
    spoken = NAMED["responses"]
    fields = spoken.decode(json.dumps(SOUND["responses"] | store).encode())
    assert spoken.read(fields).dropped == ()
    whole = json.loads(Shape("req_1", 0, "m", {}).whole("completed"))
    assert whole["store"] is False


def test_a_reference_that_leads_nowhere_is_no_servers_fault():
    """A 404 with the item's id; one to reasoning costs the reasoning alone."""
    lost = [{"type": "item_reference", "id": "msg_gone"}, {"role": "user", "content": "go"}]
    error = refused("responses", model(), input=lost)
    assert error is not None
    assert (error.status, error.param) == (404, "input")
    assert "msg_gone" in error.message
    reasoning = [{"type": "item_reference", "id": "rs_gone"}, {"role": "user", "content": "go"}]
    assert refused("responses", model(), input=reasoning) is None


def test_an_items_id_is_no_call_id():
    """Calls and their results meet by `call_id`, whatever `id` each of the two items has."""
    items = [
        {"type": "function_call", "id": "fc_1", "call_id": "call_x", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "id": "fco_9", "call_id": "call_x", "output": "ok"},
        {"role": "user", "content": "go"},
    ]
    request = NAMED["responses"].translate(model(), json.dumps({"model": "m", "input": items}).encode())
    assert [call.id for call in request.messages[0].tool_calls] == ["call_x"]
    assert request.messages[1].tool_call_id == "call_x"


def test_a_tool_of_no_known_type_never_reaches_anthropic():
    """What runs at the provider may have a fee: by a list of the types that do not, and not by one of those that do."""
    for kind in ("web_search_20250305", "of_another_day_20270101", ""):
        error = refused("messages", NATIVE["messages"][1], tools=[{"type": kind, "name": "t"}])
        assert error is not None, kind
        assert (error.status, error.param) == (400, "tools.0.type")
    client_run = [
        {"type": "bash_20250124", "name": "bash"},
        {"name": "f", "input_schema": {"type": "object"}},
    ]
    assert refused("messages", NATIVE["messages"][1], tools=client_run) is None
