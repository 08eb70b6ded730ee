"""Histories that another provider began: what each family is sent for them, in every dialect, is valid by its own rules."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from schemas.catalogue.model import Capabilities, Model
from schemas.chat.priced import RequestError
from schemas.dialects import NAMED
from schemas.dialects.blobs import Blob, seal
from tests.fakes import anthropic_rules, bedrock_claude, bedrock_rules, gemini_rules
from tests.fakes.histories import (
    PDF,
    PNG,
    TELLERS,
    Call,
    History,
    Result,
    Said,
    System,
    Thinking,
    User,
    chat,
)
from tests.fakes.responses import refusal
from tests.workers.providers.anthropic import cases as anthropic_cases
from tests.workers.providers.bedrock import cases as bedrock_cases
from tests.workers.providers.gemini import cases as gemini_cases
from tests.workers.providers.test_families import ACCOUNT
from tests.workers.providers.test_message_bodies import check_chat
from workers.providers import family

GO, ON = User("go"), User("go on")
LONG = "x" * 90
VLLM = "chatcmpl-tool-" + "a" * 32  # longer than OpenAI takes

SERVED: dict[str, History] = {
    "ids anew in each turn": (
        GO, Call("call_0", "f"), Result("call_0", "1"), ON, Call("call_0", "g"), Result("call_0", "2"),
    ),
    "ids anew in each step": (
        GO, Call("call_0", "f"), Result("call_0", "1"), Call("call_0", "g"), Result("call_0", "2"),
    ),
    "ids that others spell": (
        GO, Call("functions.f:0", "f"), Call(LONG, "g"), Result("functions.f:0"), Result(LONG),
    ),
    "ids that differ in what is spelt alike": (GO, Call("a.b", "f"), Call("a:b", "f"), Result("a:b"), Result("a.b")),
    "an id of another server": (GO, Call(VLLM, "f"), Result(VLLM)),
    "cut arguments": (GO, Call("a", "f", '{"a": "unfini'), Result("a")),
    "arguments that are a list": (GO, Call("a", "f", "[1,2]"), Result("a")),
    "arguments that are a text": (GO, Call("a", "f", '"x"'), Result("a")),
    "no arguments": (GO, Call("a", "f", ""), Result("a")),
    "half a character in arguments": (GO, Call("a", "f", '{"a":"\\ud83d"}'), Result("a")),
    "half a character": (User("a\ud83d b"), Said("\ude00"), Call("a", "f"), Result("a", "\ud83d"), ON),
    "a picture in a result": (GO, Call("a", "f"), Result("a", "see", (PNG,))),
    "a picture alone, and one beside": (GO, Call("a", "f"), Call("b", "f"), Result("a", "", (PNG,)), Result("b")),
    "a file in a result": (GO, Call("a", "f"), Result("a", "see", (), (PDF,))),
    "a name with a digit first": (GO, Call("a", "1f"), Result("a")),
    "names that are spelt alike": (
        GO, Call("a", "a.b"), Call("b", "a_b"), Call("c", "a-b"), Result("a"), Result("b"), Result("c"),
    ),
    "names that are cut alike": (GO, Call("a", "x" * 150 + "1"), Call("b", "x" * 150 + "2"), Result("a"), Result("b")),
    "two results for one call": (GO, Call("a", "f"), Result("a", "old"), Result("a", "new")),
    "an empty turn of the model": (GO, Said(""), ON),
    "a blank turn of the model": (GO, Said("  "), ON),
    "an empty turn of the user": (User(""), Said("x"), ON),
    "turns of one role": (GO, User("x"), Said("y"), Said("z"), ON),
    "the model begins": (Said("x"), ON),
    "a call begins": (Call("a", "f"), Result("a"), ON),
    "instructions in the middle": (GO, Said("x"), System("be brief"), ON),
    "reasoning of nobody known": (GO, Thinking(""), Said("x"), ON),
    "reasoning of OpenAI": (GO, Thinking("gAAAAx"), Said("x"), ON),
    "reasoning of another key": (GO, Thinking("tokn1.abcd"), Call("a", "f"), Result("a"), ON),
    "a turn of reasoning alone": (GO, Thinking("tokn1.abcd"), ON),
}  # fmt: skip


def openai_row(*, responses: bool = False) -> Model:
    """A model of OpenAI's own."""
    able = Capabilities(
        images=True,
        files=True,
        image_tokens_max=1_600,
        file_tokens_max=9_000,
        responses=responses,
        limit_field="max_completion_tokens",
    )
    return structs.replace(
        anthropic_cases.NEW, provider="openai", family="openai", upstream="gpt-x", capabilities=able
    )


def _natively(raw: bytes, row: Model) -> None:
    told = refusal(json.loads(raw))
    assert told is None, told


def _on_bedrock(raw: bytes, row: Model) -> None:
    """By whichever form a Claude there was asked."""
    body = json.loads(raw)
    if "anthropic_version" in body:
        bedrock_claude.check(row.upstream, body)
    else:
        bedrock_rules.check("Converse", row.upstream, body)


ROWS: dict[str, tuple[Model, Callable[[bytes, Model], Any]]] = {
    "openai": (openai_row(), check_chat),
    "openai responses": (openai_row(responses=True), _natively),
    **{
        upstream: (anthropic_cases.model(upstream), lambda raw, row: anthropic_rules.check(raw, row.capabilities))
        for upstream in ("claude-opus-4-1", "claude-opus-4-8")
    },
    **{
        upstream: (gemini_cases.model(upstream), lambda raw, row: gemini_rules.check(raw, row.capabilities))
        for upstream in ("gemini-2.5-pro", "gemini-3.8-flash")
    },
    **{
        upstream: (
            bedrock_cases.by_converse(upstream),
            lambda raw, row: bedrock_rules.check("Converse", row.upstream, json.loads(raw)),
        )
        for upstream in (bedrock_cases.CLAUDE, bedrock_cases.CLAUDE_EFFORT, bedrock_cases.NOVA)
    },
    **{f"own form of {upstream}": (bedrock_cases.model(upstream), _on_bedrock) for upstream in (bedrock_cases.CLAUDE, bedrock_cases.CLAUDE_EFFORT)},
}  # fmt: skip


def opened(body: dict[str, Any], dialect: str, row: Model, **fields: Any) -> Any:
    """The exchange of a body, as an edge would have it served. Raises RequestError for a 400."""
    spoken = NAMED[dialect]
    decoded = spoken.decode(json.dumps(body).encode())
    bound = spoken.bound(decoded, spoken.read(decoded), row)
    encoded = spoken.encode(decoded)
    if (refused := spoken.refuse(row, encoded)) is not None:
        raise RequestError(refused)
    job = anthropic_cases.job({}, dialect=dialect, body=encoded, upstream=row.upstream, scope="s")
    job = structs.replace(job, limit=bound.limit or 500, prompt_max=bound.prompt_max, **fields)
    (made,) = family(row.family).open(job, row, {})
    return made


def sent(history: History, dialect: str, row: Model, **more: Any) -> bytes:
    """What its provider gets for a history."""
    return bytes(opened(TELLERS[dialect](history) | more, dialect, row).request(ACCOUNT).body)


@pytest.mark.parametrize("upstream", ROWS)
@pytest.mark.parametrize("dialect", TELLERS)
def test_any_history_goes_on(dialect: str, upstream: str) -> None:
    """Whatever another model left in it, each is served, and what the family gets is what it takes."""
    row, check = ROWS[upstream]
    if dialect != "responses" and row.capabilities.responses:
        check = check_chat
    for name, history in SERVED.items():
        try:
            raw = sent(history, dialect, row)
            check(raw, row)
            assert b"tokn1.abcd" not in raw
            assert b"gAAAAx" not in raw or row.capabilities.responses
            assert b"\\ud83d" not in raw.replace(b"\\\\ud83d", b"")
        except Exception as wrong:
            raise AssertionError(name) from wrong


@pytest.mark.parametrize("dialect", TELLERS)
def test_results_follow_their_own_call(dialect: str) -> None:
    """Of calls with one id each result is beside its own, by order; of two results for one the last counts."""
    row, _ = ROWS["claude-opus-4-8"]
    for name, said in (("ids anew in each turn", ["1", "2"]), ("two results for one call", ["new"])):
        turns = json.loads(sent(SERVED[name], dialect, row))["messages"]
        blocks = [block for turn in turns if isinstance(turn["content"], list) for block in turn["content"]]
        results = {one["tool_use_id"]: one["content"] for one in blocks if one["type"] == "tool_result"}
        assert [results[one["id"]] for one in blocks if one["type"] == "tool_use"] == said


@pytest.mark.parametrize(
    ("dialect", "key"), [("chat", "arguments"), ("responses", "arguments"), ("messages", "value")]
)
def test_what_was_cut_is_told_as_it_is(dialect: str, key: str) -> None:
    """The text of arguments that are no object stands in one, under a name."""
    raw = sent(SERVED["cut arguments"], dialect, ROWS["claude-opus-4-1"][0])
    (call,) = json.loads(raw)["messages"][1]["content"]
    assert call["input"] == {key: '{"a": "unfini'}


@pytest.mark.parametrize("dialect", TELLERS)
def test_pictures_stand_in_results_where_they_can(dialect: str) -> None:
    """Claude, Nova and the newer Geminis see them there; others, and OpenAI's chat, in the user's turn behind."""

    def told(upstream: str) -> Any:
        return json.loads(sent(SERVED["a picture in a result"], dialect, ROWS[upstream][0]))

    assert [one["type"] for one in told("claude-opus-4-8")["messages"][2]["content"][0]["content"]] == [
        "text",
        "image",
    ]
    (result,) = told(bedrock_cases.NOVA)["messages"][2]["content"]
    assert [*map(list, result["toolResult"]["content"])] == [["text"], ["image"]]
    (part,) = told("gemini-3.8-flash")["contents"][2]["parts"]
    assert part["functionResponse"]["parts"][0]["inlineData"]["data"] == PNG
    assert "inlineData" in told("gemini-2.5-pro")["contents"][2]["parts"][2]
    *_, result, shown = told("openai")["messages"]
    assert PNG not in str(result)
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]


def test_reasoning_goes_back_to_who_gave_it_alone() -> None:
    """What a key's own model gave comes back unwrapped; Anthropic's own as it is; of others nothing stays."""
    row, _ = ROWS["claude-opus-4-8"]
    block = {"type": "thinking", "thinking": "Hm.", "signature": "proof"}
    ours = seal("s", Blob("anthropic", row.upstream, "block", json.dumps(block)))
    history = (GO, Thinking(ours), Said("x"), ON)
    assert json.loads(sent(history, "responses", row))["messages"][1]["content"][0] == block
    for dialect in ("responses", "messages"):
        assert b"proof" not in sent(history, dialect, ROWS[bedrock_cases.CLAUDE][0])
        assert ours.encode() not in sent(history, dialect, ROWS["openai responses"][0])
    own = (GO, Thinking("EqQBCg=="), Said("x"), ON)
    assert b'{"type":"thinking","thinking":"Hm.","signature":"EqQBCg=="}' in sent(
        own, "messages", row
    ).replace(b'": "', b'":"').replace(b'", "', b'","')


@pytest.mark.parametrize("dialect", TELLERS)
@pytest.mark.parametrize(
    ("history", "param"),
    [
        ((GO, Call("a", "f"), ON), None),
        ((GO, Call("a", "f"), Call("b", "f"), Result("a"), ON), None),
    ],
)
def test_a_call_without_a_result_is_refused(dialect: str, history: History, param: str | None) -> None:
    """Nothing is made up for it: the 400 names it, before any hold. Anthropic itself says so in its own words."""
    for upstream in ("gemini-2.5-pro", bedrock_cases.CLAUDE):
        with pytest.raises(RequestError) as refused:
            sent(history, dialect, ROWS[upstream][0])
        assert refused.value.error.status == 400
        assert refused.value.error.param is not param


def test_a_result_without_its_call() -> None:
    """In the dialects of OpenAI a 400, as there; in Anthropic's a text, for its clients cut histories."""
    history = (GO, Call("a", "f"), Result("a"), ON, Result("z", "lost"))
    for upstream, (row, _) in ROWS.items():
        if row.family != "openai":
            for dialect in ("chat", "responses"):
                with pytest.raises(RequestError):
                    sent(history, dialect, row)
        assert b"lost" in sent(history, "messages", row), upstream


def test_what_is_as_it_should_be_stays_byte_for_byte() -> None:
    """A history that Anthropic takes goes to it as its caller wrote it, and one that OpenAI takes to that."""
    history = (GO, Call("toolu_1", "f"), Result("toolu_1", "see", (PNG,)), ON)
    messages = TELLERS["messages"](history)["messages"]
    assert compact(messages) in sent(history, "messages", ROWS["claude-opus-4-8"][0])
    history = (GO, Call("call_1", "f", "{cut"), Result("call_1"), ON)
    assert compact(chat(history)["messages"]) in sent(history, "chat", ROWS["openai"][0])


def compact(value: Any) -> bytes:
    """JSON without white space, as it goes on."""
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": ["x"]}, {"role": "assistant", "content": [{"type": "tool_use"}]}],
        [{"role": "assistant", "content": [{"type": "tool_use", "id": 5, "name": 5, "input": 5}]}],
        [{"role": 5, "content": [{"type": "tool_result"}]}, {"role": "user", "content": ""}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": None, "content": 5}]}],
        [{"role": "user"}, {"content": [{"type": "text", "text": ""}, {"type": "tool_result"}]}],
    ],
)
def test_what_nobody_can_read_is_anthropics_to_refuse(turns: Any) -> None:
    """A native body that is none goes on, for Anthropic's own words to come back: never an exception here."""
    body = TELLERS["messages"]((GO,)) | {
        "messages": turns,
        "tools": [{"name": "a.b"}, {"name": "f", "input_schema": 5}],
        "thinking": {"type": "enabled", "budget_tokens": 100},
    }
    made = opened(body, "messages", ROWS["claude-opus-4-1"][0])
    assert made.request(ACCOUNT).body
    made.forget_thoughts()


@pytest.mark.parametrize("upstream", [name for name in ROWS if not name.startswith("openai")])
@pytest.mark.parametrize("dialect", TELLERS)
def test_a_bound_covers_a_history_as_it_is_told(dialect: str, upstream: str) -> None:
    """No text, name or id that a family is sent is more than was priced, however short the caller's own were."""
    row, _ = ROWS[upstream]
    for history in (
        tuple(one for at in range(40) for one in (Call(":", "."), Result(":", ""))),
        tuple(one for at in range(40) for one in (Call(":", "." * 60, "["), Result(":", ""))),
        SERVED["ids that others spell"],
    ):
        body = TELLERS[dialect]((GO, *history))
        for more in ({}, {"tools": None}):
            made = opened({name: value for name, value in (body | more).items() if value}, dialect, row)
            told = json.loads(made.request(ACCOUNT).body)
            prompt = [told.get(name) for name in ("messages", "contents", "system", "tools", "toolConfig")]
            assert _chars(prompt) <= _prompt_max(body | more, dialect, row)


def _prompt_max(body: dict[str, Any], dialect: str, row: Model) -> int:
    spoken = NAMED[dialect]
    raw = json.dumps({name: value for name, value in body.items() if value}, separators=(",", ":")).encode()
    decoded = spoken.decode(raw)
    bound = spoken.bound(decoded, spoken.read(decoded), row).prompt_max
    return bound - row.capabilities.overhead_tokens


_FRAMES = frozenset(
    (
        "role",
        "type",
        "content",
        "text",
        "parts",
        "id",
        "tool_use_id",
        "toolUseId",
        "name",
        "input",
        "thoughtSignature",
    )
)


def _chars(value: Any) -> int:
    """The characters that a model may read: every text, and the keys that are not the protocol's."""
    if isinstance(value, dict):
        said = {key: one for key, one in value.items() if key not in ("role", "type", "thoughtSignature")}
        return sum((key not in _FRAMES) * len(key) + _chars(one) for key, one in said.items())
    if isinstance(value, list):
        return sum(map(_chars, value))
    return len(value) if isinstance(value, str) else len(json.dumps(value)) if value is not None else 0
