"""What a Responses request is as a chat request: every kind of item and tool, and what is told of those that are none."""

import gc
import json
import time
from typing import Any

import msgspec
import pytest

from schemas.catalogue.model import Capabilities, Model
from schemas.chat.priced import RequestError
from schemas.dialects.responses import DIALECT
from schemas.errors import WireError, invalid
from schemas.responses.items import Carried
from schemas.responses.local_tools import LOCAL_TOOLS
from schemas.responses.tools import Named
from schemas.responses.translate import Translated, translate
from tests.fakes import costs

MODEL = Model(
    id="m",
    pool="p",
    provider="gemini",
    upstream="m",
    context=100_000,
    max_output=500,
    capabilities=Capabilities(efforts=("low", "high")),
)
USER = {"role": "user", "content": "hi"}


def of(items: Any, **more: Any) -> Translated:
    """The translation of a request with this input."""
    return translate(json.dumps({"model": "m", "input": items, **more}).encode(), MODEL)


def messages(items: Any, **more: Any) -> list[dict[str, Any]]:
    """The messages, without what they do not say."""
    made = msgspec.json.decode(msgspec.json.encode(of(items, **more).chat.messages))
    return [{name: value for name, value in message.items() if value is not None} for message in made]


def refused(items: Any, **more: Any) -> WireError:
    """Why a request is refused."""
    with pytest.raises(RequestError) as raised:
        of(items, **more)
    return raised.value.error


def call(call_id: str, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **more}


def output(call_id: str, said: Any = "ok", kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "call_id": call_id, "output": said}


def roles(items: list[dict[str, Any]]) -> list[str]:
    return [message["role"] for message in messages(items)]


def test_a_text_is_what_the_user_says() -> None:
    """Instructions come first, as the system's."""
    assert messages("hi", instructions="Be brief.") == [{"role": "system", "content": "Be brief."}, USER]


def test_a_tool_loop_as_codex_sends_it() -> None:
    """Reasoning, text and calls of one turn are one message; the results follow it in their order."""
    items = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {
            "type": "reasoning",
            "id": "rs_0",
            "summary": [{"type": "summary_text", "text": "Need a look."}],
            "content": None,
            "encrypted_content": "tokn1.c2ln",
        },
        {
            "type": "message",
            "status": "completed",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Running.", "annotations": [], "logprobs": []}],
        },
        call("call_x", "exec_command", id="fc_2", status="completed", arguments='{"cmd":"echo hi"}'),
        call("call_y", "exec_command", id="fc_3", status="completed", arguments='{"cmd":"echo ho"}'),
        {**output("call_x", "hi\n"), "id": "fco_01"},
        output("call_y", "ho\n"),
    ]
    made = of(items)
    assert messages(items)[2:] == [
        {
            "role": "assistant",
            "content": "Running.",
            "tool_calls": [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": "exec_command", "arguments": arguments},
                    "custom": None,
                }
                for call_id, arguments in (("call_x", '{"cmd":"echo hi"}'), ("call_y", '{"cmd":"echo ho"}'))
            ],
        },
        {"role": "tool", "content": "hi\n", "tool_call_id": "call_x"},
        {"role": "tool", "content": "ho\n", "tool_call_id": "call_y"},
    ]
    assert made.messages[2].carried == [Carried("tokn1.c2ln", 0)]
    assert made.messages[2].calls == ["input[4]", "input[5]"]


def test_what_is_said_among_calls_is_of_their_turn() -> None:
    """Text behind a call whose result is still to come belongs to the same message."""
    said = {"role": "assistant", "content": "More."}
    assert roles([USER, call("a"), said, call("b"), output("a"), output("b")]) == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    (turn,) = [one for one in messages([USER, call("a"), said, output("a")]) if one["role"] == "assistant"]
    assert turn["content"] == "More."


@pytest.mark.parametrize("between", [USER, {"role": "developer", "content": "x"}])
def test_results_follow_their_calls_wherever_they_stood(between: dict[str, Any]) -> None:
    """A result that comes later is told in its turn, once; ids that repeat each turn do not meet."""
    items = [USER, call("a"), between, output("a", "first"), call("a"), output("a", "second"), USER]
    assert [one["content"] for one in messages(items) if one["role"] == "tool"] == ["first", "second"]
    assert roles(items)[:3] == ["user", "assistant", "tool"]


def test_a_call_without_a_result_is_refused() -> None:
    """In OpenAI's words, for clients act on them; so is a result without its call."""
    for items in ([USER, call("call_x")], [USER, call("call_x"), USER]):
        error = refused(items)
        assert (error.status, error.param) == (400, "input")
        assert error.message == "No tool output found for function call call_x."
    assert "No tool call found" in refused([USER, output("call_x")]).message


def _cpu_s(body: bytes) -> float:
    """Of one translation, without the collector's, which grow with all that is alive."""
    gc.disable()
    try:
        began = time.process_time()
        translate(body, MODEL)
        return time.process_time() - began
    finally:
        gc.enable()


@pytest.mark.parametrize("words", [0, 1])
@pytest.mark.parametrize("late", [False, True])
def test_a_long_turn_costs_what_its_items_do(words: int, late: bool) -> None:
    """Four times the calls, the words among them and the results: four times the work, with room for noise; not 16."""

    def turn(size: int) -> bytes:
        calls = [call(f"call_{index}") for index in range(size)]
        among = [{"role": "assistant", "content": "word " * 100} for _ in range(size * words)]
        outputs = [output(f"call_{index}") for index in reversed(range(size))]
        items = [*calls, *among, *([USER] if late else []), *outputs]
        return json.dumps({"model": "m", "input": items}).encode()

    large, small = turn(6_000), turn(1_500)
    assert costs.ratio(lambda: _cpu_s(large), lambda: _cpu_s(small), 2) < 7


def test_calls_that_share_an_id_have_a_result_each() -> None:
    """As many results as calls, at once or further on; one too few is refused."""
    twice = [call("a"), call("b"), call("a")]
    outputs = [output("a", "1"), output("b", "2"), output("a", "3")]
    for items in ([*twice, *outputs], [*twice, USER, *outputs]):
        told = messages(items)
        assert [one["id"] for one in told[0]["tool_calls"]] == ["a", "b", "a"]
        assert sorted(one["content"] for one in told[1:] if one["role"] == "tool") == ["1", "2", "3"]
    assert refused([*twice, *outputs[:2]]).param == "input"


def test_pictures_in_results_are_shown_after_all_of_them() -> None:
    """No tool message carries a picture: each is the user's, said of which call, and never text."""
    data = "data:image/png;base64,AAAA"
    picture = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": data}]
    made = messages([USER, call("a"), call("b"), output("a", picture), output("b")])
    assert [one["role"] for one in made] == ["user", "assistant", "tool", "tool", "user"]
    assert made[2]["content"] == "see"
    assert made[4]["content"][0]["text"] == "Image from tool call a:"
    assert made[4]["content"][1]["image_url"]["url"] == data


def test_parts_of_a_content() -> None:
    """Texts, pictures and inline files each become the part of their kind."""
    parts = [
        {"type": "input_text", "text": "t"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    ]
    (made,) = messages([{"role": "user", "content": parts}])
    assert [part["type"] for part in made["content"]] == ["text", "image_url", "file"]
    assert made["content"][1]["image_url"]["detail"] == "low"
    assert made["content"][2]["file"]["filename"] == "a.pdf"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ],
)
def test_nothing_in_an_account_is_reached(part: dict[str, Any]) -> None:
    """What is kept elsewhere is a 400 that names it."""
    error = refused([{"role": "user", "content": [part]}])
    assert (error.status, error.code) == (400, "unsupported_value")
    assert error.param == f"input[0].content[0].{'file_url' if 'file_url' in part else 'file_id'}"


def test_tools_of_all_kinds() -> None:
    """Functions as they are, custom tools as functions of one text, namespaces flat, hosted ones dropped and named."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tools = [
        {"type": "function", "name": "f", "parameters": None, "strict": None},
        {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": grammar},
        {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "read"}]},
        {"type": "web_search"},
        {"type": "local_shell"},
    ]
    made = of("hi", tools=tools)
    functions = [tool.function for tool in made.chat.tools or () if tool.function is not None]
    assert [function.name for function in functions] == ["f", "apply_patch", "mcp__read", "local_shell"]
    assert "start: /x/" in (functions[1].description or "")
    assert json.loads(bytes(functions[1].parameters))["required"] == ["input"]
    assert made.names == {
        "apply_patch": Named("custom", "apply_patch"),
        "mcp__read": Named("function", "read", "mcp"),
        "local_shell": Named("local_shell", "local_shell"),
    }
    fields = DIALECT.decode(json.dumps({"model": "m", "input": "hi", "tools": tools}).encode())
    ask = DIALECT.read(fields)
    assert ask.dropped == ("tools[3]:web_search",)
    assert DIALECT.bound(fields, ask, MODEL).dropped == ()
    assert made.places == ("tools[0]", "tools[1]", "tools[2].tools[0]", "tools[4]")


@pytest.mark.parametrize("kind", LOCAL_TOOLS)
def test_tools_of_openais_that_run_at_the_caller(kind: str) -> None:
    """Any model is offered one as a function of its name, once, and may be told to use it; a hosted shell is none."""
    tool = {"type": kind, "environment": {"type": "local"}}
    function = {"type": "function", "function": {"name": kind}}
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": kind}, {"type": "web_search"}]}
    for asked, chosen in (
        ({"type": kind}, function),
        (allowed, {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function]}}),
    ):
        made = of("hi", tools=[tool, {"type": kind}], tool_choice=asked).chat
        (offered,) = made.tools or ()
        assert offered.function is not None
        assert offered.function.name == kind
        assert json.loads(bytes(offered.function.parameters))["required"]
        assert made.tool_choice == chosen
    assert of("hi", tools=[{"type": "shell", "environment": {"type": "container_auto"}}]).chat.tools is None


def test_what_became_of_a_patch() -> None:
    """Its status is told where it says more than its words do; other results are what they say."""
    patch = {"type": "apply_patch_call", "call_id": "a", "operation": {"type": "delete_file", "path": "x"}}
    for more, told in (
        ({"status": "completed"}, "completed"),
        ({"status": "completed", "output": "done"}, "done"),
        ({"status": "failed"}, "failed"),
        ({"status": "failed", "output": "no such file"}, "failed: no such file"),
        ({"status": 5}, ""),
    ):
        result = {"type": "apply_patch_call_output", "call_id": "a", **more}
        assert messages([USER, patch, result])[-1]["content"] == told
    function = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "a", "status": "completed", "output": ""}
    assert messages([USER, function, result])[-1]["content"] == ""


def test_no_tools_left_leave_no_choice() -> None:
    """Where all tools were dropped nothing is said of choosing among them."""
    made = of("hi", tools=[{"type": "web_search"}], tool_choice="required", parallel_tool_calls=False).chat
    assert (made.tools, made.tool_choice, made.parallel_tool_calls) == (None, None, None)


def test_tool_choices() -> None:
    """By the caller's own names, of a namespace or not; a hosted tool cannot be forced."""
    tools = [
        {"type": "custom", "name": "c"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
    ]
    assert of("hi", tools=tools, tool_choice="auto").chat.tool_choice == "auto"
    asked = {"type": "function", "name": "f", "namespace": "n"}
    chosen = {"type": "function", "function": {"name": "n__f"}}
    assert of("hi", tools=tools, tool_choice=asked).chat.tool_choice == chosen
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}]}
    made = of("hi", tools=tools, tool_choice=allowed).chat.tool_choice
    assert isinstance(made, dict)
    assert made["allowed_tools"]["tools"] == [{"type": "function", "function": {"name": "c"}}]
    for kind in ("web_search", "shell"):
        assert refused("hi", tools=tools, tool_choice={"type": kind}).param == "tool_choice"
    speaking = msgspec.structs.replace(MODEL, capabilities=Capabilities(responses=True))
    body = {"model": "m", "input": "hi", "tools": [{"type": "shell"}], "tool_choice": {"type": "shell"}}
    translate(json.dumps(body).encode(), speaking)
    hosted = [{"type": "shell", "environment": {"type": "container_auto"}}]
    for more in ({"tool_choice": {"type": "mcp"}}, {"tools": hosted}):
        with pytest.raises(RequestError):
            translate(json.dumps(body | more).encode(), speaking)


@pytest.mark.parametrize("value", [[], {}, [[]], 5, True, 0.5])
def test_a_tool_choice_of_no_known_shape_is_refused(value: Any) -> None:
    """Whatever stands where a word should, for models of either kind: a 400, and no other exception."""
    speaking = msgspec.structs.replace(MODEL, capabilities=Capabilities(responses=True))
    tool = {"type": "function", "name": "f"}
    choices = [
        {"type": value},
        {"type": "function", "name": value},
        {"type": "function", "name": "f", "namespace": value},
        {"type": "allowed_tools", "mode": value, "tools": [tool]},
        {"type": "allowed_tools", "mode": "auto", "tools": value},
        {"type": "allowed_tools", "mode": "auto", "tools": [value, {"type": value}, tool]},
    ]
    for tools in ([tool], [{"type": "shell"}], []):
        for choice in choices:
            body = json.dumps({"model": "m", "input": "hi", "tools": tools, "tool_choice": choice}).encode()
            for model in (MODEL, speaking):
                error = DIALECT.refuse(model, body)
                assert error is None or error.status == 400
                if choice == {"type": value}:
                    assert error is not None
                    assert error.param == "tool_choice"


def test_tools_that_an_item_adds() -> None:
    """They count as those of the request do."""
    items = [
        USER,
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late"}]},
    ]
    (tool,) = of(items).chat.tools or ()
    assert tool.function is not None
    assert tool.function.name == "late"


def test_custom_calls_and_calls_of_namespaces_in_a_history() -> None:
    """They bear the names that the tools have, and their arguments are objects, even where an answer was cut."""
    items = [
        USER,
        {"type": "custom_tool_call", "call_id": "a", "name": "p", "input": "x"},
        call("b", "read", namespace="mcp"),
        call("c", arguments='{"cut'),
        output("a", "1", "custom_tool_call_output"),
        output("b"),
        output("c"),
    ]
    calls = messages(items)[1]["tool_calls"]
    assert [one["function"]["name"] for one in calls] == ["p", "mcp__read", "f"]
    assert [json.loads(one["function"]["arguments"]) for one in calls] == [
        {"input": "x"},
        {},
        {"arguments": '{"cut'},
    ]


def test_what_a_provider_ran_by_itself_is_left_out() -> None:
    """Hosted calls and reasoning without a blob have no place in a chat history; an unknown item's text has."""
    items = [
        USER,
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "agent_message", "content": [{"type": "text", "text": "Do this."}]},
        {"type": "item_reference", "id": "rs_2"},
        {"id": "rs_3"},
    ]
    assert messages(items) == [USER, {"role": "user", "content": "Do this."}]


@pytest.mark.parametrize(
    "where", [{"type": "container_reference", "container_id": "c"}, {}, [], 5, {"type": []}]
)
def test_a_shell_that_is_not_the_callers_leaves_no_call(where: Any) -> None:
    """Neither its call nor its output is told, and one that names no place is the caller's own."""
    shell = {"type": "shell_call", "call_id": "a", "action": {"commands": ["ls"]}}
    out = output("a", [{"stdout": "x"}], "shell_call_output")
    assert roles([USER, shell | {"environment": where}, out, USER]) == ["user", "user"]
    for own in (None, {"type": "local", "skills": []}):
        assert roles([USER, shell | {"environment": own}, out]) == ["user", "assistant", "tool"]


def test_references_to_items_that_nobody_keeps() -> None:
    """404 in OpenAI's words, with the remedy."""
    for item in ({"type": "item_reference", "id": "msg_x"}, {"type": None, "id": "msg_x"}):
        error = refused([USER, item])
        assert (error.status, error.param) == (404, "input")
        assert error.message.startswith("Item with id 'msg_x' not found. Items are not persisted")
        assert "providerOptions.openai.store" in error.message


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"previous_response_id": "resp_x"}, "previous_response_not_found", "previous_response_id"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"reasoning": {"mode": "pro"}}, "unsupported_value", "reasoning.mode"),
        ({"moderation": {"policy": "block"}}, "unsupported_parameter", "moderation"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].type"),
        ({"text": {"format": {"type": "json_schema"}}}, "missing_required_parameter", "text.format.name"),
    ],
)
def test_what_is_refused(more: dict[str, Any], code: str, param: str) -> None:
    """A 400 with the code and the parameter as OpenAI has them; null is absent."""
    error = refused("hi", **more)
    assert (error.status, error.code, error.param) == (400, code, param)
    of("hi", **dict.fromkeys(more))


@pytest.mark.parametrize("items", [None, "", []])
def test_an_empty_input(items: Any) -> None:
    """400 that names it."""
    error = refused(items)
    assert (error.code, error.param) == ("missing_required_parameter", "input")


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"role": "robot", "content": "x"}], "input[0].role"),
        ([{"content": "x"}], "input[0].role"),
        ([USER, {"role": "user"}], "input[1].content"),
        ([{"role": "user", "content": [{"type": "nonsense"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"text": 5}]}], "input[0].content[0].text"),
        ([5], "input[0]"),
        ([{"type": "function_call", "name": "f"}], "input[0].call_id"),
        ([{"type": "compaction_trigger"}], "input[0].type"),
        ([{"type": "compaction", "encrypted_content": "x"}], "input[0].encrypted_content"),
    ],
)
def test_items_that_cannot_be(items: Any, param: str) -> None:
    """400 that says where."""
    error = refused(items)
    assert (error.status, error.param) == (400, param)


def test_errors_about_the_chat_request_are_told_of_the_callers_own_body() -> None:
    """Paths lead to the item, the tool or the field that the caller wrote."""
    tools = [{"type": "web_search"}, {"type": "function", "name": "f"}]
    made = of([USER, call("a"), call("b"), output("a"), output("b"), USER], tools=tools, instructions="x")
    for param, own in {
        "messages[0].content": "instructions",
        "messages[1].content[0].image_url.url": "input[0].content[0].image_url",
        "messages[2].tool_calls[1].function.name": "input[2].name",
        "messages[4].content": "input[4].content",
        "tools[0].function.parameters": "tools[1].parameters",
        "response_format.json_schema.schema": "text.format.schema",
        "max_completion_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
        "temperature": "temperature",
    }.items():
        told = made.told(invalid(f"Invalid '{param}'.", param=param))
        assert (told.param, told.message) == (own, f"Invalid '{own}'.")


def test_wishes_that_a_model_can_only_ignore_are_left_out() -> None:
    """Clients of this dialect send them to every model."""
    unable = msgspec.structs.replace(MODEL, capabilities=Capabilities(serial_tools=False))
    body = {"model": "m", "input": "hi", "reasoning": {"effort": "high", "summary": "auto"}}
    body |= {"parallel_tool_calls": False, "tools": [{"type": "function", "name": "f"}]}
    chat = translate(json.dumps(body).encode(), unable).chat
    assert (chat.reasoning_effort, chat.parallel_tool_calls) == (None, None)
    assert of("hi", reasoning={"effort": "high"}).chat.reasoning_effort == "high"
