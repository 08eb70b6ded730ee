"""What a Messages body asks for, what it is bounded by, and what it becomes for other families."""

import json
import time
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from msgspec import structs

from schemas.catalogue.model import Capabilities, Model
from schemas.chat.priced import RequestError
from schemas.chat.request import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    Thought,
    ThoughtfulMessage,
)
from schemas.dialects.blobs import Blob, seal
from schemas.dialects.messages.dialect import DIALECT
from schemas.dialects.messages.names import told_id, told_name
from schemas.errors import WireError, invalid, overloaded

OTHER = Model(
    id="m",
    pool="p",
    provider="gemini",
    upstream="g",
    context=200_000,
    max_output=500,
    capabilities=Capabilities(
        images=True,
        files=True,
        image_tokens_max=1_600,
        file_tokens_max=9_000,
        efforts=("low", "medium", "high"),
        overhead_tokens=7,
    ),
)
NATIVE = structs.replace(OTHER, provider="anthropic", family="anthropic")
OPENAI = structs.replace(OTHER, provider="openai", family="openai")
CACHING = structs.replace(OTHER, capabilities=structs.replace(OTHER.capabilities, cache_points=4))
SAY: list[Any] = [{"role": "user", "content": "hi"}]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4_000}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def raw(**fields: Any) -> bytes:
    """A body."""
    return json.dumps({"model": "m", "max_tokens": 100, "messages": SAY, **fields}).encode()


def chat(model: Model = OTHER, scope: str = "s", **fields: Any) -> ChatRequest:
    """What a body becomes for a model."""
    decoded = DIALECT.decode(raw(**fields))
    DIALECT.read(decoded)
    return DIALECT.translate(model, DIALECT.encode(decoded), scope)


def turns(*content: Any, model: Model = OTHER, scope: str = "s") -> list[Message]:
    """What turns become: a list of blocks is the user's, a tuple the assistant's, a text an instruction."""
    roles = {list: "user", tuple: "assistant", str: "system"}
    messages = [{"role": roles[type(one)], "content": one} for one in content]
    return chat(model, scope, messages=messages).messages


def refused(model: Model = OTHER, **fields: Any) -> WireError:
    """Why a body is refused, wherever on its way."""
    try:
        decoded = DIALECT.decode(raw(**fields))
        ask = DIALECT.read(decoded)
        DIALECT.bound(decoded, ask, model)
        error = DIALECT.refuse(model, DIALECT.encode(decoded))
    except RequestError as raised:
        error = raised.error
    assert error is not None
    assert error.status == 400
    return error


def call(call_id: str, name: str = "f") -> dict[str, Any]:
    """A call of a tool."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": {"a": 1}}


def result(call_id: str, content: Any = "fine", **more: Any) -> dict[str, Any]:
    """Its result."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"speed": "fast"}, "speed"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"fallbacks": [1]}, "fallbacks"),
    ],
)
def test_what_every_model_refuses(fields: dict[str, Any], param: str) -> None:
    """What is missing, wrong, billed outside known prices, or in the operator's account."""
    for model in (OTHER, NATIVE, OPENAI):
        assert refused(model, **fields).param == param


def test_refused_fields_that_say_nothing_are_taken() -> None:
    """Null, the default, and an empty list; they go no further, and need no word."""
    decoded = DIALECT.decode(raw(speed="standard", mcp_servers=[], container=None))
    assert DIALECT.read(decoded).dropped == ()
    assert set(json.loads(DIALECT.encode(decoded))) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize("model", [OTHER, NATIVE, OPENAI])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "container_upload", "file_id": "f", "source": {}},
        {"type": "container_upload", "file_id": "f"},
        {"type": "of_another_day", "url": "https://x"},
        {"type": "of_another_day", "source": {"type": "url", "url": "https://x"}},
    ],
)
def test_what_cannot_be_bounded_is_refused(model: Model, block: Any) -> None:
    """Files of the operator's account and of others' servers, at the top and inside results."""
    for content in ([block], [result("x", [block])]):
        assert refused(model, messages=[{"role": "user", "content": content}])


@pytest.mark.parametrize(
    "inner",
    [
        {
            "content": {
                "type": "web_fetch_result",
                "content": {"type": "document", "source": PICTURE["source"]},
            }
        },
        {"content": [{"type": "code_execution_output", "file_id": "f"}]},
        {"content": {"content": [{"type": "x", "input": {"a": [[{"url": "https://x"}]]}}]}},
    ],
)
@pytest.mark.parametrize("kind", ["web_fetch_tool_result", "mcp_tool_result", "of_another_day"])
def test_media_in_blocks_that_nobody_knows(kind: str, inner: Any) -> None:
    """They go to Anthropic uncounted, so they are refused there, with escapes or not; elsewhere they are left out."""
    block = {"type": kind, "tool_use_id": "s", **inner}
    body = raw(messages=[*SAY, {"role": "assistant", "content": [block, {"type": "text", "text": "a"}]}])
    for written in (
        body,
        body.replace(b'"source"', b'"s\\u006furce"').replace(b'_id": "f"', b'_\\u0069d": "f"'),
    ):
        decoded = DIALECT.decode(written)
        ask = DIALECT.read(decoded)
        with pytest.raises(RequestError):
            DIALECT.bound(decoded, ask, NATIVE)
        DIALECT.bound(decoded, ask, OTHER)
        assert [one.content for one in DIALECT.translate(OTHER, written).messages] == ["hi", "a"]
    inner = {"type": kind, "tool_use_id": "s", "content": {"a": [[{"url": "https://x"}]]}}
    unlisted = DIALECT.decode(raw(messages=[*SAY, {"role": "assistant", "content": [inner]}]))
    assert DIALECT.read(unlisted).dropped == ("messages.1.content.0.content.a",)
    assert b"https" not in DIALECT.encode(unlisted)
    plain = {"type": kind, "tool_use_id": "s", "content": [{"type": "x", "text": "see source, url"}]}
    decoded = DIALECT.decode(raw(messages=[*SAY, {"role": "assistant", "content": [plain, PICTURE]}]))
    assert DIALECT.bound(decoded, DIALECT.read(decoded), NATIVE).media_tokens == 1_600


@pytest.mark.parametrize("model", [OTHER, NATIVE, OPENAI])
@pytest.mark.parametrize("kind", ["image", "document"])
@pytest.mark.parametrize(
    "media_type",
    [
        "image/png;base64," + "A" * 9_000,
        "image/png\n",
        "image/png,",
        "a",
        "",
        "image/a/b",
        "image/é",
        None,
        ["image/png"],
    ],
)
def test_a_media_type_is_nothing_but_a_type(model: Model, kind: str, media_type: Any) -> None:
    """Whatever follows it would be read in place of the data that is counted."""
    block = {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": "AAAA"}}
    for content in ([block], [result("x", [block])]):
        error = refused(model, messages=[{"role": "user", "content": content}])
        assert str(error.param).endswith("source.media_type")


def test_media_count_as_what_they_are() -> None:
    """Base64 is no text: a picture counts by its model, wherever it stands, and all text by its bytes."""
    for content in ([PICTURE], [result("x", [PICTURE])]):
        decoded = DIALECT.decode(raw(messages=[{"role": "user", "content": content}]))
        bound = DIALECT.bound(decoded, DIALECT.read(decoded), OTHER)
        assert 1_600 <= bound.prompt_max < 2_000
        assert bound.media_tokens == 1_600
        assert bound.text_bytes < 300


def test_tools_that_run_at_the_caller_have_an_overhead() -> None:
    """Their words are not in the body: the provider adds them."""
    decoded = DIALECT.decode(raw(tools=[{"type": "bash_20250124", "name": "bash"}]))
    plain = DIALECT.decode(raw(tools=[{"name": "bash", "type": "custom", "a": "b"}]))
    ask = DIALECT.read(decoded)
    assert DIALECT.bound(decoded, ask, NATIVE).prompt_max > DIALECT.bound(plain, ask, NATIVE).prompt_max + 200


@hypothesis.given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)},
            optional={
                "type": st.sampled_from([None, "custom"]),
                "description": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
                "input_schema": st.sampled_from([None, {}, {"type": "object", "$schema": "x"}]),
                "strict": st.none() | st.booleans(),
                "cache_control": st.sampled_from([None, {}, {"type": "ephemeral", "ttl": "1h"}]),
            },
        ),
        min_size=1,
        max_size=40,
    )
)
def test_a_bound_covers_tools_as_they_are_told(tools: list[dict[str, Any]]) -> None:
    """No list of tools is longer in a translation, null fields and new names with it, than it was priced."""
    able = structs.replace(CACHING.capabilities, strict_tools=True, overhead_tokens=0)
    model = structs.replace(CACHING, capabilities=able)
    body = {"model": "m", "max_tokens": 1, "messages": SAY, "tools": tools}
    decoded = DIALECT.decode(msgspec.json.encode(body))  # as short as JSON can be
    without = DIALECT.decode(raw())
    ask = DIALECT.read(decoded)
    told = DIALECT.translate(model, DIALECT.encode(decoded)).tools
    priced = DIALECT.bound(decoded, ask, model).prompt_max - DIALECT.bound(without, ask, model).prompt_max
    assert priced >= len(msgspec.json.encode(told))


def test_what_goes_no_further_is_named() -> None:
    """Unknown fields for every model; what one model cannot use for that model."""
    decoded = DIALECT.decode(
        raw(
            of_another_day=1,
            top_k=3,
            context_management={"edits": [{"type": "clear_thinking_20251015"}]},
            tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
            max_tokens=501,
        )
    )
    ask = DIALECT.read(decoded)
    assert ask.dropped == ("of_another_day",)
    assert DIALECT.bound(decoded, ask, NATIVE).dropped == ("max_tokens",)
    assert set(DIALECT.bound(decoded, ask, OTHER).dropped) == {
        "tools[1]:web_search_20250305",
        "context_management",
        "top_k",
        "max_tokens",
    }
    compacting = DIALECT.decode(raw(context_management={"edits": [{"type": "compact_20260112"}]}))
    assert DIALECT.read(compacting).dropped == ("context_management",)
    assert b"compact" not in DIALECT.encode(compacting)


def test_system_is_one_message_without_the_clients_label() -> None:
    """Blocks are joined; the client's label for its bill would reach the model."""
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: a"},
        {"type": "text", "text": "Be brief."},
    ]
    for given, told in (
        (system, "Be brief."),
        ("a", "a"),
        ([*system, {"type": "text", "text": "b"}], "Be brief.\n\nb"),
    ):
        assert chat(system=given).messages[0] == Message("system", told)
    assert [message.role for message in chat(system="").messages] == ["user"]


def test_instructions_amid_a_conversation_stay_there() -> None:
    """OpenAI has a role for them; elsewhere they are part of the user's turn, never at the top or the assistant's."""
    told = turns([{"type": "text", "text": "hi"}], "Mind the gap.")
    (only,) = told
    assert only.role == "user"
    assert only.content == "hi\n\n<system-reminder>\nMind the gap.\n</system-reminder>"
    assert turns([{"type": "text", "text": "hi"}], "Mind.", model=OPENAI)[1] == Message("system", "Mind.")


def test_instructions_never_part_calls_from_their_results() -> None:
    """They come right behind the results: a provider refuses anything in between."""
    for model in (OTHER, OPENAI):
        told = turns(
            [{"type": "text", "text": "go"}],
            (call("a"),),
            "Mind.",
            [result("a"), {"type": "text", "text": "b"}],
            model=model,
        )
        assert [message.role for message in told[:3]] == ["user", "assistant", "tool"]
        assert "Mind." in str(told[3].content)


def test_results_come_first_each_once_and_in_order() -> None:
    """Then the rest of the turn; a second result for one call replaces the first, one for no call is text."""
    told = turns(
        [{"type": "text", "text": "go"}],
        (call("a"), call("b")),
        [
            result("b"),
            {"type": "text", "text": "and?"},
            result("a", "old"),
            result("a", "new"),
            result("z", "lost"),
        ],
    )
    assert [message.role for message in told] == ["user", "assistant", "tool", "tool", "user"]
    assert [(message.tool_call_id, message.content) for message in told[2:4]] == [("a", "new"), ("b", "fine")]
    assert told[4].content == "and?\n\n[Result of tool call z: lost]"


def test_many_turns_cost_time_in_step_with_their_number() -> None:
    """Neighbouring turns of the user are joined once, and results are put in order without a look at every call."""
    many = 20_000
    said = [[{"type": "text", "text": "a"}]] * many
    calls = tuple(call(str(at)) for at in range(many))
    results = [[result(str(at))] for at in range(many)]
    before_s = time.process_time()
    (only,) = turns([PICTURE], *said)
    told = turns([{"type": "text", "text": "go"}], calls, *results)
    assert time.process_time() - before_s < 10
    assert isinstance(only.content, list)
    assert len(only.content) == many + 1
    assert [message.tool_call_id for message in told[2:]] == [str(at) for at in range(many)]


def test_what_results_hold() -> None:
    """Errors say so, texts are joined, pictures follow in the user's turn, and nothing is a text too."""
    told = turns(
        [{"type": "text", "text": "go"}],
        (call("a"), call("b"), call("c")),
        [
            result(
                "a", [{"type": "text", "text": "x"}, PICTURE, {"type": "text", "text": "y"}], is_error=True
            ),
            result("b", None),
            result("c", [{"type": "tool_reference", "tool_name": "g"}]),
        ],
    )
    assert [message.content for message in told[2:5]] == ["Error: x\ny", "", "tool g loaded"]
    content = told[5].content
    assert isinstance(content, list)
    assert content[0] == TextPart("Image from tool call a:")
    assert isinstance(content[1], ImagePart)


def test_history_never_stops_a_session() -> None:
    """Inputs that were cut, blocks of tools that ran elsewhere, and turns that are empty without them."""
    odd = [
        {"type": "tool_use", "id": str(at), "name": "f", "input": given}
        for at, given in enumerate((None, "cut {", [1]))
    ]
    told = turns(
        [{"type": "text", "text": "go"}],
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},),
        (*odd,),
        [result("0"), result("1"), result("2")],
    )
    assert [message.role for message in told] == ["user", "assistant", "tool", "tool", "tool"]
    calls = [json.loads(one.function.arguments) for one in told[1].tool_calls or () if one.function]
    assert calls == [{}, {"value": "cut {"}, {"value": [1]}]


def test_documents() -> None:
    """A PDF has a name that ends in .pdf; text and content are text; a search result has its source."""

    def told(source: Any, **more: Any) -> Any:
        return turns([{"type": "document", "source": source, **more}])[0].content

    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    for title, name in ((None, "document.pdf"), ("a", "a.pdf"), ("b.PDF", "b.PDF")):
        (part,) = told(pdf, title=title)
        assert isinstance(part, FilePart)
        assert (part.file.filename, part.file.file_data) == (name, "data:application/pdf;base64,JVBE")
    assert told({"type": "text", "data": "words"}, title="T") == "T\nwords"
    assert told({"type": "content", "content": [{"type": "text", "text": "x"}]}) == "x"
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
    assert turns([found])[0].content == "t\ns\nx"


def test_reasoning_comes_back_to_the_model_that_gave_it() -> None:
    """To the same key, family and model, each before its own call; anything else is left out, and its turn stays."""
    ours = seal("s", Blob("gemini", "g", "call", "proof"))
    blocks = (
        {"type": "thinking", "thinking": "Hm.", "signature": ours},
        call("a"),
        {"type": "redacted_thinking", "data": ours},
        call("b"),
    )
    told = turns([{"type": "text", "text": "go"}], blocks, [result("a"), result("b")])[1]
    assert isinstance(told, ThoughtfulMessage)
    assert told.thoughts == (Thought("call", "proof", 0), Thought("call", "proof", 1))
    for scope, blob in (
        ("other", ours),
        ("s", seal("s", Blob("gemini", "another", "call", "proof"))),
        ("s", seal("s", Blob("anthropic", "g", "call", "proof"))),
        ("s", "c2ln"),
        ("s", ""),
        ("s", ours[:-3] + "AAA"),
    ):
        foreign = ({"type": "thinking", "thinking": "Hm.", "signature": blob}, call("a"))
        told = turns([{"type": "text", "text": "go"}], foreign, [result("a")], scope=scope)[1]
        assert not isinstance(told, ThoughtfulMessage)
        assert told.tool_calls


def test_names_and_ids_that_others_refuse() -> None:
    """They are told in another way, the same way each time, and no two alike."""
    long = "toolu_" + "x" * 60
    told = turns([{"type": "text", "text": "go"}], (call(long, "1.st"),), [result(long)])
    assert told[1].tool_calls
    assert told[1].tool_calls[0].id == told[2].tool_call_id == told_id(long)
    assert told_name("1.st").startswith("_1_st_")
    (tool,) = chat(tools=[TOOL | {"name": "1.st"}]).tools or ()
    assert tool.function is not None
    assert tool.function.name == told_name("1.st")
    assert told_name("get_weather") == "get_weather"


@pytest.mark.parametrize(
    ("choice", "told", "serial"),
    [
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        ({"type": "any"}, "required", None),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, None),
    ],
)
def test_tool_choices(choice: Any, told: Any, serial: bool | None) -> None:
    """In OpenAI's words; without tools there is nothing to choose."""
    asked = chat(tools=[TOOL], tool_choice=choice)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (told, serial)
    assert chat(tool_choice=choice).tool_choice is None


def test_tools_that_run_elsewhere() -> None:
    """Left out beside the caller's own; a 400 where nothing else is there, or where one is chosen."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert len(chat(tools=[TOOL, search]).tools or ()) == 1
    for model in (OTHER, NATIVE):
        assert "web_search" in refused(model, tools=[search]).message
    assert (
        "web_search"
        in refused(tools=[TOOL, search], tool_choice={"type": "tool", "name": "web_search"}).message
    )
    bash = {"type": "bash_20250124", "name": "bash"}
    assert DIALECT.refuse(NATIVE, raw(tools=[bash])) is None


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_048}, "max_tokens": 9_999}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8_192}, "max_tokens": 9_999}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}, "max_tokens": 9_999}, "high"),
        ({"output_config": {"effort": "max"}}, "high"),
        (
            {"output_config": {"effort": "low"}, "thinking": {"type": "enabled", "budget_tokens": 50}},
            "low",
        ),
    ],
)
def test_how_much_to_reason(fields: dict[str, Any], effort: str | None) -> None:
    """An effort says more than a budget, the nearest counts, and a model that cannot reason goes without."""
    assert chat(**fields).reasoning_effort == effort
    unable = structs.replace(OTHER, capabilities=Capabilities())
    assert chat(unable, **fields).reasoning_effort is None


def test_a_budget_is_smaller_than_the_limit() -> None:
    """For every model, as at Anthropic: the reasoning is part of the output that is held for."""
    for model in (OTHER, NATIVE):
        error = refused(model, thinking={"type": "enabled", "budget_tokens": 100})
        assert error.param == "thinking.budget_tokens"


def test_cache_marks_stay_where_they_are_honoured() -> None:
    """Lost ones would cost the full price each turn, and nothing would show it; elsewhere texts stay texts."""
    content = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    (kept,) = turns(content, model=CACHING)
    assert isinstance(kept.content, list)
    assert isinstance(kept.content[0], TextPart)
    assert kept.content[0].cache_control is not None
    assert turns(content)[0].content == "a"


def test_who_asks_is_told_to_openai_alone() -> None:
    """As a digest of 64 characters: what clients send is longer than it takes."""
    metadata = {"user_id": "u" * 230}
    assert chat(metadata=metadata).safety_identifier is None
    told = chat(OPENAI, metadata=metadata).safety_identifier
    assert told is not None
    assert len(told) == 64


def test_errors_in_anthropics_words() -> None:
    """Overload has a status of its own, and a prompt that is too long the words that clients compact by."""
    assert DIALECT.error_status(overloaded()) == 529
    body = json.loads(DIALECT.error_body(overloaded(), "req_1"))
    assert body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "The upstream provider is overloaded."},
        "request_id": "req_1",
    }
    too_long = invalid("This model's maximum context length is 9 tokens.", code="context_length_exceeded")
    message = json.loads(DIALECT.error_body(too_long, ""))["error"]["message"]
    assert message.startswith("prompt is too long: ")
    known = invalid("prompt is too long: 10 tokens > 9 maximum", code="context_length_exceeded")
    assert json.loads(DIALECT.error_body(known, ""))["error"]["message"] == known.message


def test_refusals_name_the_callers_own_fields() -> None:
    """A message by its place in the body, whatever it became, and fields under Anthropic's names."""
    blind = structs.replace(OTHER, capabilities=structs.replace(OTHER.capabilities, images=False))
    turns = [
        *SAY,
        {"role": "assistant", "content": [call("a")]},
        {"role": "user", "content": [result("a"), PICTURE]},
    ]
    decoded = raw(system="Be brief.", messages=turns, tools=[TOOL])
    error = DIALECT.refuse(blind, decoded)
    assert error is not None
    assert error.param == "messages.2"
    unanswered = [*SAY, {"role": "assistant", "content": [call("a")]}, *SAY]
    error = refused(system="Be brief.", messages=unanswered, tools=[TOOL])
    assert error.param == "messages.1"
    assert refused(stop_sequences=["a"] * 9).param == "stop_sequences"
    assert "stop sequences" in refused(stop_sequences=["a"] * 9).message
    assert refused(tools=[TOOL, TOOL]).param == "tools.1.name"
