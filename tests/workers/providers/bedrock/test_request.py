import json

import pytest

from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes.bedrock_rules import check
from tests.workers.providers.bedrock.cases import (
    CLAUDE,
    CLAUDE_3,
    CLAUDE_EFFORT,
    LLAMA,
    NOVA,
    NOVA_2,
    exchange,
    job,
    model,
)
from workers.providers.bedrock.family import Bedrock
from workers.providers.claude_json import JSON_INSTRUCTION

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
G = {
    "type": "function",
    "function": {"name": "g", "description": "", "parameters": {"properties": {"b": {}, "a": {}}}},
}
USER = {"role": "user", "content": "hi"}
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"n": 1.0000000000000000001}'},
        },
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": ""}},
    ],
}
RESULTS = [
    {"role": "tool", "tool_call_id": "c2", "content": "two"},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}]},
]


def sent(upstream: str = CLAUDE, thoughts=None, *, strict: bool = True, **body) -> dict:
    """The body that goes to Bedrock: not refused, and valid by the service model and its rules."""
    made = job(upstream, **body)
    assert refuse(model(upstream), CHAT, made.body) is None
    built = json.loads(exchange(upstream, thoughts, **body)._body)
    if strict:
        check("ConverseStream", upstream, built)
    return built


def refused(upstream: str = CLAUDE, **body) -> tuple[str | None, str | None]:
    error = refuse(model(upstream), CHAT, job(upstream, **body).body)
    assert error is not None
    assert error.status == 400
    return error.code, error.param


def test_instructions_and_turns():
    """Instructions are hoisted, turns of one role are merged, blanks are dropped (C22, C23)."""
    body = sent(
        messages=[
            {"role": "system", "content": "one"},
            USER,
            {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
            {"role": "user", "content": [{"type": "text", "text": "  "}, {"type": "text", "text": "there"}]},
            {"role": "assistant", "content": ""},
            {"role": "assistant", "content": "yes"},
            USER,
        ]
    )
    assert body == {
        "system": [{"text": "one"}, {"text": "two"}],
        "messages": [
            {"role": "user", "content": [{"text": "hi"}, {"text": "there"}]},
            {"role": "assistant", "content": [{"text": "yes"}]},
            {"role": "user", "content": [{"text": "hi"}]},
        ],
        "inferenceConfig": {"maxTokens": 1_000},
    }


def test_a_conversation_that_the_user_does_not_open():
    """Instructions alone become the user's words; a turn of the model's gets one before it."""
    body = sent(messages=[{"role": "system", "content": "go"}])
    assert body["messages"] == [{"role": "user", "content": [{"text": "go"}]}]
    assert "system" not in body
    opened = sent(messages=[{"role": "assistant", "content": "hello"}, USER])["messages"]
    assert [turn["role"] for turn in opened] == ["user", "assistant", "user"]


def test_c21_c22_parallel_results_go_into_one_turn_each_with_its_own_id():
    """Results first, text after them, in one user message; numbers in arguments keep every digit."""
    raw = exchange(tools=[F], messages=[USER, CALLED, *RESULTS, {"role": "user", "content": "go on"}])._body
    assert b'{"n": 1.0000000000000000001}' in raw
    body = sent(tools=[F], messages=[USER, CALLED, *RESULTS, {"role": "user", "content": "go on"}])
    assert [block["toolUse"]["toolUseId"] for block in body["messages"][1]["content"]] == ["c1", "c2"]
    assert body["messages"][1]["content"][1]["toolUse"]["input"] == {}
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "c2", "content": [{"text": "two"}]}},
        {"toolResult": {"toolUseId": "c1", "content": [{"text": "one"}]}},
        {"text": "go on"},
    ]


@pytest.mark.parametrize("more", [{}, {"tools": [F], "tool_choice": "none"}])
def test_c20_history_with_tools_but_none_offered_is_told_as_text(more):
    """Tool blocks without a toolConfig are a 400 at Bedrock; a dummy tool might be called."""
    body = sent(messages=[USER, CALLED, *RESULTS], **more)
    assert "toolConfig" not in body
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"text": '[Called the tool f with {"n": 1.0000000000000000001}]'},
                {"text": "[Called the tool f with {}]"},
            ],
        },
        {
            "role": "user",
            "content": [{"text": "[Result of the tool f: two]"}, {"text": "[Result of the tool f: one]"}],
        },
    ]


def test_ids_of_other_providers_are_made_fit():
    """An id that Converse does not take becomes a digest of itself, the same for call and result."""
    odd = "call_" + "x" * 90
    call = {"id": odd, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": odd, "content": ""},
    ]
    body = sent(tools=[F], messages=messages)
    used = body["messages"][1]["content"][0]["toolUse"]["toolUseId"]
    assert body["messages"][2]["content"][0]["toolResult"] == {"toolUseId": used, "content": []}


def test_c50_tools_keep_their_order_and_their_bytes():
    """In the caller's order; a schema without a type gets one, an empty description is left out."""
    raw = exchange(tools=[G, F])._body
    assert raw.index(b'"name":"g"') < raw.index(b'"name":"f"')
    assert raw.index(b'"b": {}') < raw.index(b'"a": {}')
    specs = [entry["toolSpec"] for entry in sent(tools=[G, F])["toolConfig"]["tools"]]
    assert specs[0] == {
        "name": "g",
        "inputSchema": {"json": {"type": "object", "properties": {"b": {}, "a": {}}}},
    }
    bare = {"type": "function", "function": {"name": "h", "description": "does", "strict": True}}
    assert sent(tools=[bare])["toolConfig"]["tools"][0]["toolSpec"] == {
        "name": "h",
        "description": "does",
        "strict": True,
        "inputSchema": {"json": {"type": "object", "properties": {}, "additionalProperties": False}},
    }


def test_strict_tools_are_closed_or_not_strict():
    """A strict tool's schema has the answers' subset; what that cannot say goes as it is, and for a model without them."""
    form = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    tree = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    for upstream, schema, strict in ((CLAUDE, form, True), (CLAUDE, tree, None), (NOVA, form, None)):
        tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
        spec = sent(upstream, tools=[tool])["toolConfig"]["tools"][0]["toolSpec"]
        assert spec.get("strict") is strict
        made = spec["inputSchema"]["json"]
        assert made.get("additionalProperties", True) is (strict is None)
        assert strict or made == schema


def test_tool_choices():
    """Converse has auto, any and one tool; "none" it has not."""
    assert "toolChoice" not in sent(tools=[F])["toolConfig"]
    assert "toolChoice" not in sent(tools=[F], tool_choice="auto")["toolConfig"]
    assert sent(tools=[F], tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}
    named = {"type": "function", "function": {"name": "f"}}
    assert sent(tools=[F, G], tool_choice=named)["toolConfig"]["toolChoice"] == {"tool": {"name": "f"}}
    assert "toolConfig" not in sent(tools=[F], tool_choice="none")
    assert refused(LLAMA, tools=[F], tool_choice="required") == ("unsupported_value", "tool_choice")


def test_c25_c26_the_parallel_flag_never_changes_the_choice():
    """Neutral auto when there is no choice, beside a choice without a type, and nothing at all on none."""
    alone = sent(tools=[F], parallel_tool_calls=False)
    assert alone["additionalModelRequestFields"] == {
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}
    }
    assert "toolChoice" not in alone["toolConfig"]
    beside = sent(tools=[F], parallel_tool_calls=False, tool_choice="required")
    assert beside["additionalModelRequestFields"] == {"tool_choice": {"disable_parallel_tool_use": True}}
    assert "additionalModelRequestFields" not in sent(
        tools=[F], parallel_tool_calls=False, tool_choice="none"
    )
    assert "additionalModelRequestFields" not in sent(parallel_tool_calls=False)
    assert refused(NOVA, tools=[F], parallel_tool_calls=False) == ("unsupported_value", "parallel_tool_calls")


def test_c27_allowed_tools_filter_the_tools_and_the_flag_is_carried():
    """Only those tools are sent, with the mode that was asked for."""
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    body = sent(
        tools=[F, G],
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
        parallel_tool_calls=False,
    )
    assert [entry["toolSpec"]["name"] for entry in body["toolConfig"]["tools"]] == ["g"]
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert body["additionalModelRequestFields"]["tool_choice"] == {"disable_parallel_tool_use": True}


def image(mime: str = "image/png", data: str = PNG) -> dict:
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}", "detail": "high"}}


def test_images():
    """Inline data of four types; image/jpg is a common misspelling; links cannot be fetched."""
    body = sent(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, image("image/jpg")]}])
    assert body["messages"][0]["content"][1] == {"image": {"format": "jpeg", "source": {"bytes": PNG}}}
    where = "messages[0].content[0].image_url.url"
    for part, code in (
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "unsupported_value"),
        (image("image/tiff"), "unsupported_value"),
        (image(data="@@@"), "invalid_value"),
        (image(data="A" * 5_200_000), "unsupported_value"),
    ):
        assert refused(messages=[{"role": "user", "content": [part]}]) == (code, where)
    many = [{"role": "user", "content": [image()] * 21}]
    assert refused(messages=many) == ("unsupported_value", "messages")


def test_documents_have_names_that_fit_and_a_text_beside_them():
    """A few characters only, no two the same, and never a document alone."""

    def file(name: str, data: str = "data:text/csv;base64,YSxi") -> dict:
        return {"type": "file", "file": {"filename": name, "file_data": data}}

    parts = [file("my_data__2024 .v1.csv"), file("my data 2024  v1.csv"), file("notes.txt", "aGk="), file("")]
    content = sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert [block["document"]["name"] for block in content[:4]] == [
        "my data 2024 v1",
        "my data 2024 v1 (2)",
        "notes",
        "document",
    ]
    assert [block["document"]["format"] for block in content[:4]] == ["csv", "csv", "txt", "csv"]
    assert "text" in content[4]
    beside = [file("a.csv"), {"type": "text", "text": "sum it"}]
    assert len(sent(messages=[{"role": "user", "content": beside}])["messages"][0]["content"]) == 2
    by_id = {"type": "file", "file": {"file_id": "file-1"}}
    code, param = refused(messages=[{"role": "user", "content": [by_id]}])
    assert (code, param) == ("unsupported_value", "messages[0].content[0].file.file_id")
    assert refused(messages=[{"role": "user", "content": [file("a.csv")] * 6}]) == (
        "unsupported_value",
        "messages",
    )


def test_settings():
    """Limits, sampling within Converse's range, stops, metadata, tiers."""
    body = sent(
        NOVA,
        temperature=1.5,
        top_p=0.25,
        top_k=7,
        stop=["END", "\n\nHuman:"],
        metadata={"team": "blue", "odd": "é", "": "x"},
        service_tier="flex",
        seed=7,
        store=True,
        user="u",
        n=1,
        logprobs=False,
        presence_penalty=0,
    )
    assert body["inferenceConfig"] == {
        "maxTokens": 1_000,
        "temperature": 1.0,
        "topP": 0.25,
        "stopSequences": ["END", "\n\nHuman:"],
    }
    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 7}}
    assert body["requestMetadata"] == {"team": "blue"}
    assert body["serviceTier"] == {"type": "flex"}
    assert sent(CLAUDE_3, top_k=7)["additionalModelRequestFields"] == {"top_k": 7}
    assert sent(CLAUDE_3, temperature=1, top_p=1)["inferenceConfig"] == {"maxTokens": 1_000}


def test_c24_a_stop_of_white_space_is_refused():
    """Bedrock's models refuse it, after the hold: here it is a 400 that names the one at fault."""
    assert refused(stop="\n") == ("unsupported_value", "stop")
    assert refused(stop=["END", " "]) == ("unsupported_value", "stop[1]")


def test_a_json_schema_travels_as_text():
    """For models that have it, beside tools too; others refuse it. json_object is an instruction, for all but Titan."""
    schema = {
        "type": "object",
        "properties": {"b": {"type": "string"}, "a": {}},
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    text_format = sent(response_format=wanted)["outputConfig"]["textFormat"]
    assert text_format["type"] == "json_schema"
    assert text_format["structure"]["jsonSchema"]["name"] == "n"
    text = text_format["structure"]["jsonSchema"]["schema"]
    assert json.loads(text) == schema
    assert text.index('"b"') < text.index('"a"')
    for upstream in (CLAUDE_3, NOVA):
        assert refused(upstream, response_format=wanted) == ("unsupported_value", "response_format.type")
    assert sent(response_format={"type": "json_object"})["system"] == [{"text": JSON_INSTRUCTION}]


def test_efforts():
    """Tokens, levels or a word of their own: each model's way."""
    thinking = sent(reasoning_effort="medium", limit=5_000)["additionalModelRequestFields"]["thinking"]
    assert thinking == {"type": "enabled", "budget_tokens": 2_048}
    thinking = sent(reasoning_effort="max", limit=5_000)["additionalModelRequestFields"]["thinking"]
    assert thinking == {"type": "enabled", "budget_tokens": 4_999}
    assert "additionalModelRequestFields" not in sent(reasoning_effort="none")
    assert "additionalModelRequestFields" not in sent(reasoning_effort="high", limit=1_024)
    adaptive = sent(CLAUDE_EFFORT, reasoning_effort="minimal")
    assert adaptive["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert adaptive["outputConfig"] == {"effort": "low"}
    off = sent(CLAUDE_EFFORT, reasoning_effort="none")
    assert off["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert "outputConfig" not in off
    nova = sent(NOVA_2, reasoning_effort="high")["additionalModelRequestFields"]
    assert nova == {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}
    assert refused(CLAUDE_3, reasoning_effort="low") == ("unsupported_value", "reasoning_effort")
    assert refused(LLAMA, reasoning_effort="low") == ("unsupported_parameter", "reasoning_effort")


def test_c28_thinking_follows_from_what_can_be_replayed():
    """A running tool turn needs its reasoning again: with it, thinking stays on; without, it is off for this turn."""
    kept = '[{"reasoningText":{"text":"let me see","signature":"c2ln"}}]'
    asked = {"tools": [F], "messages": [USER, CALLED, *RESULTS], "reasoning_effort": "low", "limit": 5_000}
    with_it = sent(thoughts={"c1": kept}, **asked)
    assert with_it["messages"][1]["content"][0] == {
        "reasoningContent": {"reasoningText": {"text": "let me see", "signature": "c2ln"}}
    }
    assert "thinking" in with_it["additionalModelRequestFields"]
    assert "additionalModelRequestFields" not in sent(**asked)
    over = asked | {"messages": [*asked["messages"], {"role": "assistant", "content": "done"}, USER]}
    assert "thinking" in sent(**over)["additionalModelRequestFields"]
    assert "thinking" in sent(CLAUDE_EFFORT, **asked)["additionalModelRequestFields"]


def test_which_signatures_are_wanted():
    """The first call of each step of the running turn, and none where nothing reasons."""
    family = Bedrock()
    asked = job(messages=[USER, CALLED, *RESULTS], reasoning_effort="low", tools=[F])
    assert family.thought_ids(asked) == ["c1"]
    assert family.thought_ids(job(messages=[USER, CALLED, *RESULTS], tools=[F])) == []
    assert (
        family.thought_ids(job(messages=[USER, CALLED, *RESULTS, USER], reasoning_effort="low", tools=[F]))
        == []
    )
    assert family.thought_ids(job(reasoning_effort="low")) == []


def test_cache_breakpoints():
    """A cachePoint after what is to be cached, at most four, and none for models that do not cache."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    asked = {
        "tools": [{**F, "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
            {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}},
        ],
    }
    body = sent(**asked)
    assert body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["messages"][0]["content"] == [{"text": "hi"}, {"cachePoint": {"type": "default"}}]
    assert body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert "cachePoint" not in json.dumps(sent(LLAMA, **asked))
    whole = sent(cache_control={"type": "ephemeral"})
    assert whole["messages"][0]["content"][-1] == {"cachePoint": {"type": "default"}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"web_search_options": {}}, None),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
        ({"service_tier": "priority"}, "service_tier"),
    ],
)
def test_what_converse_cannot_honour_is_refused(body, param):
    """A 400 that names the parameter, before any hold."""
    if param is None:  # an empty object asks for nothing
        sent(**body)
    else:
        assert refused(**body)[1] == param


def paired(body):
    """Each call's id with the text of its result, in the order of the calls."""
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    texts = {result["toolUseId"]: result["content"][0]["text"] for result in results}
    calls = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
    return [(call, texts[call]) for call in calls]


def test_ids_that_repeat_in_each_turn_are_sent_once():
    """Models that count their calls anew in each turn: each id is unique on the way out, and results follow their own."""
    messages = [USER]
    for turn in range(3):
        called = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
        calls = [called | {"id": "call_0"}, called | {"id": "list_dir:0"}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages.append({"role": "tool", "tool_call_id": "list_dir:0", "content": f"dir {turn}"})
        messages.append({"role": "tool", "tool_call_id": "call_0", "content": f"zero {turn}"})
    body = sent(tools=[F], messages=messages)
    pairs = paired(body)
    assert [text for _, text in pairs] == [f"{what} {turn}" for turn in range(3) for what in ("zero", "dir")]
    assert pairs[0][0] == "call_0"


def test_legacy_functions_called_again_are_calls_of_their_own():
    """A function of the legacy kind has no id but its name, which each of its calls shares."""
    messages = [USER]
    for turn in range(2):
        messages.append(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
        )
        messages.append({"role": "function", "name": "f", "content": f"result {turn}"})
    body = sent(tools=[F], messages=messages)
    pairs = paired(body)
    assert [text for _, text in pairs] == ["result 0", "result 1"]
    assert len({name for name, _ in pairs}) == 2


def test_a_schema_that_refers_to_itself_is_told_in_words():
    """No answer's schema may be recursive: OpenAI takes one, so it becomes an instruction instead of a refusal."""
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": tree, "strict": True}}
    body = sent(response_format=wanted)
    assert "textFormat" not in body.get("outputConfig", {})
    assert json.loads(body["system"][0]["text"].partition("JSON schema: ")[2]) == tree
