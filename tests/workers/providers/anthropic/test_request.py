"""What Anthropic is sent for OpenAI's requests: every mapping of docs/providers/anthropic.md, checked by the API's own rules."""

import base64
import json

import pytest

from tests.workers.providers.anthropic.cases import (
    ACCOUNT,
    MIDDLE,
    NEW,
    OLD,
    TOOL,
    USER,
    exchange,
    job,
    model,
    sent,
)
from workers.providers.anthropic.family import Anthropic
from workers.providers.anthropic.messages import tool_id
from workers.providers.base import RefusedError
from workers.providers.claude_json import JSON_INSTRUCTION

PNG = "iVBORw0KGgo="
CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.10}'}},
        {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": ""}},
    ],
}
RESULTS = [
    {"role": "tool", "tool_call_id": "call_1", "content": "one"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 3}, "b": {"type": "object", "properties": {}}},
    "required": ["a"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


def test_headers_and_address():
    """The version is pinned, the key goes in x-api-key, and a base_url of the account's own is used."""
    made = Anthropic().open(job({"stream": True}), OLD, {})[0].request(ACCOUNT)
    assert made.url == "https://api.anthropic.com/v1/messages"
    assert made.headers["anthropic-version"] == "2023-06-01"
    assert made.headers["x-api-key"] == ACCOUNT.api_key
    assert made.headers["accept"] == "text/event-stream"


def test_the_least_body():
    """The limit is the granted one, the model the upstream's, and nothing else is made up."""
    assert sent({}, limit=77) == {
        "model": OLD.upstream,
        "max_tokens": 77,
        "stream": False,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_system_is_hoisted():
    """System and developer messages, wherever they stand, become the one system text."""
    messages = [
        {"role": "system", "content": "one"},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
    ]
    body = sent({"messages": messages})
    assert body["system"] == "one\ntwo"
    assert len(body["messages"]) == 1


def test_only_instructions():
    """Instructions alone become what the user says."""
    body = sent({"messages": [{"role": "system", "content": "Say hi"}]})
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hi"}]}]
    assert "system" not in body


def test_neighbours_of_one_role_are_merged():
    """Consecutive messages of one role are one turn; blank ones vanish, an assistant's opening gets a user turn."""
    messages = [
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "  "},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "c"},
    ]
    turns = sent({"messages": messages})["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["text"] for block in turns[2]["content"]] == ["a", "b", "c"]


def test_c21_c22_parallel_results_share_one_turn():
    """All results of a turn go in one user message, each with its own id, and the user's words after them."""
    body = sent({"messages": [*USER, CALLS, *RESULTS, {"role": "user", "content": "and?"}], "tools": [TOOL]})
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "two"},
        {"type": "text", "text": "and?"},
    ]


def test_c23_no_empty_text_beside_tool_use():
    """An empty text beside tool calls is left out; arguments keep their spelling, blank ones are {}."""
    made = exchange(job({"messages": [*USER, CALLS, *RESULTS], "tools": [TOOL]}))
    raw = made.request(ACCOUNT).body
    turn = json.loads(raw)["messages"][1]
    assert [block["type"] for block in turn["content"]] == ["tool_use", "tool_use"]
    assert turn["content"][1]["input"] == {}
    assert b'"input":{"x": 1.10}' in raw


def test_c20_tool_history_without_tools_is_text():
    """History with tool blocks and no tools is told as text; no callable dummy is made up."""
    body = sent({"messages": [*USER, CALLS, *RESULTS]})
    assert "tools" not in body
    assert body["messages"][2]["content"][0] == {"type": "text", "text": "[f returned one]"}


def test_odd_call_ids_are_digested():
    """Ids that the API would refuse are replaced alike in call and result."""
    odd = "call:" + "x" * 90
    call = {"id": odd, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": odd, "content": ""},
    ]
    body = sent({"messages": messages, "tools": [TOOL]})
    assert (
        body["messages"][1]["content"][0]["id"]
        == body["messages"][2]["content"][0]["tool_use_id"]
        == tool_id(odd)
    )


def test_legacy_function_messages():
    """A function_call and its function message are a call and a result."""
    messages = [
        *USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "ok"},
    ]
    body = sent({"messages": messages, "tools": [TOOL]})
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "f", "content": "ok"}]


def test_images_and_files():
    """Data URLs become base64 sources with image/jpg put right; PDFs and text files become documents."""
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}", "detail": "low"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": base64.b64encode(b"words").decode(), "filename": "a.txt"}},
    ]
    blocks = sent({"messages": [{"role": "user", "content": parts}]})["messages"][0]["content"]
    assert blocks[1]["source"] == {"type": "base64", "media_type": "image/jpeg", "data": PNG}
    assert blocks[2]["source"]["media_type"] == "application/pdf"
    assert blocks[2]["title"] == "a.pdf"
    assert blocks[3]["source"] == {"type": "text", "media_type": "text/plain", "data": "words"}


def test_remote_images_where_the_row_allows_them():
    """An https image is sent as a link only to a model whose row says so."""
    content = [{"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}]
    messages = [{"role": "user", "content": content}]
    with pytest.raises(RefusedError):
        sent({"messages": messages})
    blocks = sent({"messages": messages}, model("claude-3-5-x", remote_images=True))["messages"][0]["content"]
    assert blocks[0]["source"] == {"type": "url", "url": "https://example.test/a.png"}


def test_c50_tools_keep_their_order_and_schema():
    """Tools go out in the caller's order, each schema with the caller's own bytes."""
    tools = [
        {
            "type": "function",
            "function": {"name": name, "description": "d", "parameters": {"z": 1, "type": "object", "a": 2}},
        }
        for name in ("b", "a", "c")
    ]
    raw = exchange(job({"tools": tools})).request(ACCOUNT).body
    assert [tool["name"] for tool in json.loads(raw)["tools"]] == ["b", "a", "c"]
    assert raw.count(b'{"z": 1, "type": "object", "a": 2}') == 3


def test_schemas_without_a_type_or_at_all():
    """A function without parameters, or with a schema that has no type, gets the type that the API demands."""
    tools = [
        {"type": "function", "function": {"name": "a"}},
        {"type": "function", "function": {"name": "b", "parameters": {"properties": {}}, "strict": True}},
    ]
    mapped = sent({"tools": tools}, NEW)["tools"]
    assert mapped[0]["input_schema"] == {"type": "object", "properties": {}}
    assert mapped[1]["input_schema"]["type"] == "object"
    assert mapped[1]["strict"] is True


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_tool_choice(asked, choice):
    """Each tool choice has its form."""
    assert sent({"tools": [TOOL]} | asked).get("tool_choice") == choice


def test_c25_none_takes_no_parallel_flag():
    """tool_choice none with parallel calls off sends no flag that none does not have."""
    body = sent({"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False})
    assert body["tool_choice"] == {"type": "none"}


def test_c26_parallel_off_alone_stays_auto():
    """Parallel calls off without a choice does not force a tool; without tools it is dropped."""
    body = sent({"tools": [TOOL], "parallel_tool_calls": False})
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in sent({"parallel_tool_calls": False})


@pytest.mark.parametrize(("mode", "kind"), [("auto", "auto"), ("required", "any")])
def test_c27_allowed_tools_filter_and_keep_the_flag(mode, kind):
    """allowed_tools sends only those, in the caller's order, and the parallel flag with them."""
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b", "c")]
    allowed = [{"type": "function", "function": {"name": name}} for name in ("c", "a")]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    body = sent({"tools": tools, "tool_choice": choice, "parallel_tool_calls": False})
    assert [tool["name"] for tool in body["tools"]] == ["a", "c"]
    assert body["tool_choice"] == {"type": kind, "disable_parallel_tool_use": True}


def test_json_schema_by_format():
    """Newer models take the schema, its objects closed and its constraints put into words."""
    body = sent({"response_format": FORMAT}, NEW)
    schema = body["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["b"]["additionalProperties"] is False
    assert schema["properties"]["a"] == {"type": "integer", "description": "(minimum: 3)"}


def test_json_schema_by_tool():
    """Older models are forced to call a tool whose input is the answer."""
    body = sent({"response_format": FORMAT})
    assert body["tool_choice"] == {"type": "tool", "name": "answer", "disable_parallel_tool_use": True}
    assert body["tools"][0]["input_schema"] == SCHEMA


def test_json_object_is_an_instruction():
    """json_object is asked for in words."""
    assert sent({"response_format": {"type": "json_object"}})["system"] == JSON_INSTRUCTION


def test_sampling():
    """Temperatures above 1 are clamped to the API's highest, which is its default; defaults are left out."""
    assert "temperature" not in sent({"temperature": 1.7})
    assert sent({"temperature": 0.2, "top_k": 5})["temperature"] == 0.2
    assert sent({"temperature": 0, "top_p": 0.5})["top_p"] == 0.5
    assert not {"temperature", "top_p"} & set(sent({"temperature": 1, "top_p": 1}, NEW))


SHOWN = {"type": "adaptive", "display": "summarized"}


def test_efforts():
    """Efforts are budgets within the limit for older models, adaptive thinking that is shown for newer ones, and none turns it off."""
    assert sent({"reasoning_effort": "high"}, MIDDLE)["thinking"] == {
        "type": "enabled",
        "budget_tokens": 4096,
    }
    assert sent({"reasoning_effort": "high"}, MIDDLE, limit=2000)["thinking"]["budget_tokens"] == 1999
    assert "thinking" not in sent({"reasoning_effort": "low"}, MIDDLE, limit=1000)
    body = sent({"reasoning_effort": "minimal", "response_format": FORMAT}, NEW)
    assert body["thinking"] == SHOWN
    assert body["output_config"]["effort"] == "low"
    assert "format" in body["output_config"]
    assert sent({"reasoning_effort": "none"}, NEW)["thinking"] == {"type": "disabled"}
    assert "thinking" not in sent({"reasoning_effort": "none"})


def test_c28_thinking_is_decided_by_what_can_be_replayed():
    """Within a running turn of tool calls a budget is not asked for, since its thinking cannot be sent back; after it, it is."""
    asked = {"tools": [TOOL], "reasoning_effort": "low"}
    running = [*USER, CALLS, *RESULTS]
    assert "thinking" not in sent(asked | {"messages": running}, MIDDLE)
    assert sent(asked | {"messages": running}, NEW)["thinking"] == SHOWN
    over = [*running, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and?"}]
    assert sent(asked | {"messages": over}, MIDDLE)["thinking"]["type"] == "enabled"


def test_person_and_tier():
    """Whoever asks goes out as a digest; tiers have their own names; stops go as they are."""
    body = sent({"user": "a@example.test", "service_tier": "default", "stop": "END"})
    assert len(body["metadata"]["user_id"]) == 32
    assert body["service_tier"] == "standard_only"
    assert body["stop_sequences"] == ["END"]
    assert sent({"safety_identifier": "x", "service_tier": "auto"})["service_tier"] == "auto"


def test_ignored_parameters_leave_no_trace():
    """What may be ignored safely is."""
    extra = {
        "store": True,
        "metadata": {"a": "b"},
        "seed": 7,
        "verbosity": "low",
        "prompt_cache_key": "k",
        "logprobs": False,
        "n": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "stop": None,
        "of_another_day": 1,
    }
    assert sent(extra) == sent({})


def test_cache_breakpoints_are_copied():
    """Breakpoints on parts, messages, tools and the whole go along."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
        {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}},
    ]
    body = sent({"messages": messages, "tools": [TOOL | {"cache_control": mark}], "cache_control": mark})
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": mark}]
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["tools"][0]["cache_control"] == mark
    assert body["cache_control"] == mark


def test_prefill_loses_its_trailing_space():
    """An answer to continue is sent without the white space that the API refuses at its end."""
    turns = sent({"messages": [*USER, {"role": "assistant", "content": "The answer is  "}]})["messages"]
    assert turns[-1]["content"][0]["text"] == "The answer is"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"model":"M"}', b'{"messages":[{"role":1}],"model":"M"}', b"[" * 5000]
)
def test_an_invalid_body_is_refused(body):
    """A worker refuses a body that no edge should have let through."""
    with pytest.raises(RefusedError):
        Anthropic().open(job({}, body=body), OLD, {})


def paired(body):
    """Each call's id with the text of its result, in the order of the calls."""
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    results = {block["tool_use_id"]: block["content"] for block in blocks if block["type"] == "tool_result"}
    return [(block["id"], results[block["id"]]) for block in blocks if block["type"] == "tool_use"]


def test_ids_that_repeat_in_each_turn_are_sent_once():
    """Models that count their calls anew in each turn: each id is unique on the way out, and results follow their own."""
    messages = [*USER]
    for turn in range(3):
        called = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
        calls = [called | {"id": "call_0"}, called | {"id": "list_dir:0"}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages.append({"role": "tool", "tool_call_id": "list_dir:0", "content": f"dir {turn}"})
        messages.append({"role": "tool", "tool_call_id": "call_0", "content": f"zero {turn}"})
    body = sent({"tools": [TOOL], "messages": messages})
    pairs = paired(body)
    assert [text for _, text in pairs] == [f"{what} {turn}" for turn in range(3) for what in ("zero", "dir")]
    assert pairs[0][0] == "call_0"


def test_legacy_functions_called_again_are_calls_of_their_own():
    """A function of the legacy kind has no id but its name, which each of its calls shares."""
    messages = [*USER]
    for turn in range(2):
        messages.append(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
        )
        messages.append({"role": "function", "name": "f", "content": f"result {turn}"})
    body = sent({"tools": [TOOL], "messages": messages})
    pairs = paired(body)
    assert [text for _, text in pairs] == ["result 0", "result 1"]
    assert len({name for name, _ in pairs}) == 2


def test_a_schema_that_refers_to_itself_is_told_in_words():
    """No answer's schema may be recursive: OpenAI takes one, so it becomes an instruction instead of a refusal."""
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": tree, "strict": True}}
    body = sent({"response_format": form}, NEW)
    assert "output_config" not in body
    assert json.loads(body["system"].partition("JSON schema: ")[2]) == tree


def test_what_openai_takes_is_served():
    """`oneOf`, counts and formats outside the subset: the schema is sent within it, and the rest told."""
    item = {"oneOf": [{"type": "string", "format": "idn-email"}, {"type": "integer", "multipleOf": 2}]}
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": item, "minItems": 2}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    made = sent({"response_format": form}, NEW)["output_config"]["format"]["schema"]
    array = made["properties"]["a"]
    assert (array["minItems"], array["description"]) == (1, "(minItems: 2)")
    assert array["items"]["anyOf"] == [
        {"type": "string", "description": '(format: "idn-email")'},
        {"type": "integer", "description": "(multipleOf: 2)"},
    ]


@pytest.mark.parametrize(
    ("parameters", "strict"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}, True),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, False),
    ],
)
def test_strict_tools_are_in_the_subset_or_not_strict(parameters, strict):
    """A strict tool's schema has the answers' subset; one outside it is as strong a hint as any other tool's."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    (made,) = sent({"tools": [tool]}, model("claude-opus-4-8", strict_tools=True))["tools"]
    assert made.get("strict", False) is strict
    if not strict:
        assert made["input_schema"] == parameters
