"""How translated answers look in the dialect of Responses: the transcripts that official clients were tested with."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from schemas.dialects.blobs import Blob, unseal
from schemas.money.pricing import TokenUsage
from schemas.responses.marks import bytes_max, is_true
from schemas.responses.request import RESPONSES
from tests.workers.providers.anthropic.cases import job
from workers.answers import answers
from workers.answers.responses.answer import ResponsesAnswer

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "responses"
SCOPE = "scope-1"
CREATED_S = 1_795_632_967
PROOF = Blob("anthropic", "claude-x", "block", "proof")
CUSTOM = {"type": "custom", "name": "apply_patch"}
KEPT = {"keeps": True}
_MARK = re.compile(rb"_[ks][0-9a-f]{31}(?=\")")
_BLOB = re.compile(rb'"tokn1\.[^"]+"')
_OWN_IDS = re.compile(rb'"(msg|fc|rs|ctc)_1_(\d+)"')


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second after the call began, for ever."""
    monkeypatch.setattr("time.time", lambda: CREATED_S + 1)


def answer_of(stream: bool = True, model: str = "M", keeps: bool = False, **asked: Any) -> ResponsesAnswer:
    """The answer of a call that asks for something."""
    body = {"model": model, "input": "hi", **asked}
    made = job(
        body,
        dialect=RESPONSES,
        stream=stream,
        body=json.dumps(body).encode(),
        published_ms=CREATED_S * 1000,
        scope=SCOPE,
        keeps=keeps,
    )
    (one,) = answers(made)
    assert isinstance(one, ResponsesAnswer)
    return one


def text(one: ResponsesAnswer) -> bytes:
    out = one.open(0) + one.text(0, "Hel") + one.text(0, "lo")
    return out + one.finish(0, "stop") + one.end(TokenUsage(input=10, cached=100, cache_write=5, output=2))


def two_calls(one: ResponsesAnswer) -> bytes:
    out = one.text(0, "Looking.") + one.tool(0, "call_a", "f")
    out += one.arguments(0, '{"a"') + one.arguments(0, "") + one.arguments(0, ":1}")
    out += one.tool(0, "call_b", "g")
    return out + one.finish(0, "stop") + one.end(TokenUsage(input=20, output=31))


def reasoning(one: ResponsesAnswer) -> bytes:
    out = one.open(0) + one.reasoning(0, "Think") + one.reasoning(0, "ing.") + one.signature(0, PROOF)
    out += one.text(0, "42") + one.finish(0, "stop")
    return out + one.end(TokenUsage(input=20, output=12, reasoning=148))


def length(one: ResponsesAnswer) -> bytes:
    out = one.text(0, "Once upon") + one.finish(0, "length")
    return out + one.end(TokenUsage(input=9, output=16))


def refusal(one: ResponsesAnswer) -> bytes:
    out = one.refusal(0, "I can't help with that.") + one.finish(0, "stop")
    return out + one.end(TokenUsage(input=12, output=7))


def custom(one: ResponsesAnswer) -> bytes:
    out = one.tool(0, "call_p", "apply_patch")
    out += one.arguments(0, '{"input": "*** Begin') + one.arguments(0, ' Patch\\n"') + one.arguments(0, "}")
    return out + one.finish(0, "tool_calls") + one.end(TokenUsage(input=20, output=9))


def exec_loop(one: ResponsesAnswer) -> bytes:
    out = one.reasoning(0, "Need a look.") + one.signature(0, PROOF) + one.text(0, "Running.")
    out += one.tool(0, "call_x", "exec_command")
    out += one.arguments(0, '{"cmd":') + one.arguments(0, '"echo hi"}') + one.tool_end(0)
    out += one.tool(0, "call_y", "exec_command") + one.arguments(0, '{"cmd":"echo ho"}')
    return out + one.finish(0, "tool_calls") + one.end(TokenUsage(input=20, output=22, reasoning=9))


ENCRYPTED = {"include": ["reasoning.encrypted_content"]}
CASES: dict[str, tuple[Callable[[ResponsesAnswer], bytes], dict[str, Any]]] = {
    "r1-text": (text, {}),
    "r2-two-calls": (two_calls, {}),
    "r3-reasoning": (reasoning, {"reasoning": {"effort": "medium", "summary": "auto"}, **ENCRYPTED}),
    "r4-length": (length, {"max_output_tokens": 16}),
    "r6-refusal": (refusal, {}),
    "r7-custom": (custom, {"tools": [CUSTOM]}),
    "r8-exec": (exec_loop, ENCRYPTED),
}


def normal(said: bytes, asked: dict[str, Any]) -> bytes:
    """With the ids of the transcripts, which repeat what was asked at their end alone, if at all."""
    said = _BLOB.sub(b'"tokn1.c2ln"', _OWN_IDS.sub(rb'"\1_\2"', said))
    if "tools" in asked:
        said = said.replace(json.dumps(asked["tools"]).encode(), b"[]")
    blocks = said.split(b"\n\n")
    for at in (0, 1):
        blocks[at] = blocks[at].replace(b'"max_output_tokens":16', b'"max_output_tokens":null')
        blocks[at] = blocks[at].replace(b'"medium","summary":"auto"', b'null,"summary":null')
    return b"\n\n".join(blocks)


@pytest.mark.parametrize("name", CASES)
def test_streams_to_the_byte(name: str) -> None:
    """Each transcript comes out as it was recorded."""
    tell, asked = CASES[name]
    assert normal(tell(answer_of(**asked)), asked) == (FIXTURES / f"{name}.sse").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_plain_answers(name: str) -> None:
    """The same events give one body: the response of the stream's last event, which the SDK's type takes."""
    tell, asked = CASES[name]
    out = tell(answer_of(stream=False, **asked))
    said = json.loads(_BLOB.sub(b'"tokn1.c2ln"', _OWN_IDS.sub(rb'"\1_\2"', out)))
    Response.model_validate(said, strict=True)
    said["tools"] = []
    assert said == json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_kept_items_have_marked_ids(name: str, stream: bool) -> None:
    """Each item has one, true to its key, in every event; without the marks the answer is what it was."""
    tell, asked = CASES[name]
    out = tell(answer_of(stream=stream, **KEPT, **asked))
    ids = [one.decode() for one in re.findall(rb'"(?:id|item_id)":"((?:msg|fc|rs|ctc)_[^"]*)"', out)]
    response = json.loads(out) if not stream else events(out)[-1]["response"]
    assert {item["id"] for item in response["output"]} == set(ids)
    assert all(is_true(SCOPE, one) for one in ids)
    for item in response["output"]:
        size_bytes = len(json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode())
        assert size_bytes <= bytes_max([item["id"]]) if stream else size_bytes == bytes_max([item["id"]])
    bare = _MARK.sub(b"", out)
    assert _BLOB.sub(b"", bare) == _BLOB.sub(b"", tell(answer_of(stream=stream, **asked)))


def events(out: bytes) -> list[dict[str, Any]]:
    """The data of each event, whose name is its type."""
    found = []
    for block in out.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def test_tools_come_back_under_their_callers_names() -> None:
    """A tool of a namespace comes with it; one whose name no chat model takes comes as it was written."""
    inner = [{"type": "function", "name": "read"}, {"type": "custom", "name": "x" * 80}]
    tools = [{"type": "namespace", "name": "mcp", "tools": inner}]
    tools += [{"type": "function", "name": name} for name in ("a.b", "9x")]
    one = answer_of(tools=tools)
    known = list(one._names)
    assert known[0] == "mcp__read"
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in known)
    out = b"".join(one.tool(0, f"c{at}", name) + one.tool_end(0) for at, name in enumerate(known))
    out += one.finish(0, "stop") + one.end(None)
    calls = events(out)[-1]["response"]["output"]
    shown = [(call["type"], call.get("namespace"), call["name"]) for call in calls]
    assert shown == [
        ("function_call", "mcp", "read"),
        ("custom_tool_call", "mcp", "x" * 80),
        ("function_call", None, "a.b"),
        ("function_call", None, "9x"),
    ]


@given(st.text(), st.integers(1, 9), st.booleans())
def test_custom_input_arrives_whatever_the_pieces(said: str, size: int, escape: bool) -> None:
    """However the arguments are escaped and cut, the deltas together are the input, and so is the item."""
    one = answer_of(tools=[CUSTOM])
    raw = json.dumps({"input": said}, ensure_ascii=escape)
    out = one.tool(0, "c", "apply_patch")
    for at in range(0, len(raw), size):
        out += one.arguments(0, raw[at : at + size])
    told = events(out + one.finish(0, "stop") + one.end(None))
    deltas = [event["delta"] for event in told if event["type"].endswith("input.delta")]
    assert "".join(deltas) == said == told[-1]["response"]["output"][0]["input"]


@pytest.mark.parametrize("raw", ['{"text":"x"}', "plain words", '{"input":5}', '{"input":"cut of'])
def test_custom_input_of_another_form_is_not_lost(raw: str) -> None:
    """What a model makes of a tool's input instead of what it was asked for is what the caller gets."""
    one = answer_of(stream=False, tools=[CUSTOM])
    one.tool(0, "c", "apply_patch")
    one.arguments(0, raw)
    one.finish(0, "stop")
    (call,) = json.loads(one.end(None))["output"]
    assert call["input"] == raw.removeprefix('{"input":"')


@pytest.mark.parametrize("size", [1, 3, 50])
def test_half_a_character_in_custom_input_costs_no_more(size: int) -> None:
    """Wherever the pieces end: the input is whole, with the replacement in its place."""
    one = answer_of(tools=[CUSTOM])
    raw = r'{"input":"a\ud83d b\ud83d\ude00\ude00"}'
    out = one.tool(0, "c", "apply_patch")
    for at in range(0, len(raw), size):
        out += one.arguments(0, raw[at : at + size])
    told = events(out + one.finish(0, "stop") + one.end(None))
    assert told[-1]["response"]["output"][0]["input"] == "a\ufffd b\U0001f600\ufffd"


def test_a_cut_answer_says_so_of_its_open_item_alone() -> None:
    """The items that are complete stay so; a call that was cut is not to be run."""
    one = answer_of(stream=False)
    one.text(0, "Look")
    one.tool(0, "c", "f")
    one.arguments(0, '{"a":')
    one.finish(0, "length")
    said = json.loads(one.end(None))
    assert (said["status"], said["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in said["output"]] == ["completed", "incomplete"]


def test_what_was_asked_is_said_again_on_one_line() -> None:
    """The response repeats its request, however that was written, and no event is broken by it."""
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    body = json.dumps(
        {
            "model": "M",
            "input": "hi",
            "instructions": "Be\nbrief: 100%.",
            "tools": tools,
            "tool_choice": "required",
            "metadata": {"a": "b"},
            "temperature": None,
            "text": {"verbosity": "low"},
            "user": "u",
        },
        indent=1,
    ).encode()
    (one,) = answers(job({}, dialect=RESPONSES, stream=True, body=body))
    said = events(one.open(0))[0]["response"]
    assert said["instructions"] == "Be\nbrief: 100%."
    assert (said["tools"], said["tool_choice"], said["metadata"]) == (tools, "required", {"a": "b"})
    assert (said["temperature"], said["user"]) == (1.0, "u")
    assert said["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert "safety_identifier" not in said


def test_usage_has_every_count() -> None:
    """Clients refuse a usage that lacks a count: none is left out, and the parts are within their sums."""
    one = answer_of(stream=False)
    one.text(0, "x")
    one.finish(0, "stop")
    used = json.loads(one.end(TokenUsage(input=1, cached=2, cache_write=3, cache_write_long=4, output=5)))[
        "usage"
    ]
    assert used == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 7},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }


def test_proof_of_reasoning_is_sealed_for_its_key() -> None:
    """A caller who asks for it carries it as a text that only its own key opens; who does not ask gets none."""
    for asked in (ENCRYPTED, {}):
        one = answer_of(stream=False, **asked)
        one.signature(0, PROOF)
        one.tool(0, "c", "f")
        one.finish(0, "stop")
        items = json.loads(one.end(None))["output"]
        assert [item["type"] for item in items] == ["reasoning"] * bool(asked) + ["function_call"]
    blob = json.loads(tell_proof())["output"][0]["encrypted_content"]
    assert unseal(SCOPE, blob) == PROOF
    assert unseal("another", blob) is None


def tell_proof() -> bytes:
    one = answer_of(stream=False, **ENCRYPTED)
    one.signature(0, PROOF)
    one.finish(0, "stop")
    return one.end(None)
