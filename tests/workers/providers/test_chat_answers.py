"""Chat answers told to callers of Messages and Responses: calls reach them whole, or the answer is a fault."""

import itertools
import json
from typing import Any

import pytest

from schemas.dialects.messages.request import MESSAGES
from schemas.responses.request import RESPONSES
from tests.workers.providers.anthropic.cases import job
from workers.answers import answers
from workers.providers.chat_answers import BROKEN_CALL, HELD_CHARS_MAX, ChatReader

BODIES: dict[str, dict[str, Any]] = {
    MESSAGES: {"max_tokens": 64, "thinking": {"type": "enabled", "budget_tokens": 1_024}},
    RESPONSES: {"input": "hi"},
}
each_way = pytest.mark.parametrize(
    ("dialect", "stream"), list(itertools.product((MESSAGES, RESPONSES), (False, True)))
)


def piece(text: str, index: int = 0, name: str = "") -> dict[str, Any]:
    """A fragment of a call's arguments; with a name, the call's first."""
    opener = {"id": f"call_{index}", "type": "function"} if name else {}
    function = {"arguments": text} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function} | opener]}


class Told:
    """What a caller has been told of some deltas and a finish."""

    def __init__(
        self, dialect: str, stream: bool, deltas: list[dict[str, Any]], finish: str = "tool_calls"
    ) -> None:
        render = answers(job(BODIES[dialect] | {"stream": stream}, dialect=dialect))[0]
        reader = ChatReader(render)
        out = b""
        for delta, reason in [*((delta, None) for delta in deltas), ({}, finish)]:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            out += reader.say(json.dumps({"choices": [choice]}).encode())
            if reader.fault is not None:
                break
        self.fault = reader.fault
        self.parts: list[tuple[str, Any]] = []  # in order: what kind, and what it says
        if self.fault is None:
            out += render.end(None)
            self.parts = _messages(out, stream) if dialect == MESSAGES else _responses(out, stream)


def _events(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: ")]


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text  # cut off


def _messages(out: bytes, stream: bool) -> list[tuple[str, Any]]:
    if not stream:
        return [
            (block["type"], block["input"] if block["type"] == "tool_use" else block[block["type"]])
            for block in json.loads(out)["content"]
        ]
    blocks: list[tuple[str, str]] = []
    for event in _events(out):
        if event["type"] == "content_block_start":
            blocks.append((event["content_block"]["type"], ""))
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            said = delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
            assert event["index"] == len(blocks) - 1
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + said)
    return [(kind, _arguments(said) if kind == "tool_use" else said) for kind, said in blocks]


def _responses(out: bytes, stream: bool) -> list[tuple[str, Any]]:
    body = _events(out)[-1]["response"] if stream else json.loads(out)
    kinds = {"message": "text", "reasoning": "thinking", "function_call": "tool_use"}
    found = []
    for item in body["output"]:
        if item["type"] == "function_call":
            said = _arguments(item["arguments"])
        else:
            said = (item.get("content") or item.get("summary"))[0]["text"]
        found.append((kinds[item["type"]], said))
    return found


@each_way
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"content": "\n"}, "text"),
        ({"reasoning_content": "\n"}, "thinking"),
        ({"reasoning": "\n"}, "thinking"),
    ],
)
def test_what_is_said_amid_a_call_is_told_after_it(
    dialect: str, stream: bool, said: dict[str, Any], told: str
) -> None:
    """Text or reasoning between two fragments closes no call, and is not lost."""
    one = Told(dialect, stream, [piece('{"a":', name="f"), said, piece("1}")])
    assert one.parts == [("tool_use", {"a": 1}), (told, "\n")]


@each_way
def test_a_call_that_has_no_arguments_yet_is_not_over(dialect: str, stream: bool) -> None:
    """Text right behind the opener of a call closes it no more than text amid its arguments."""
    one = Told(dialect, stream, [piece("", name="f"), {"content": "so"}, piece('{"a":1}')])
    assert one.parts == [("tool_use", {"a": 1}), ("text", "so")]
    bare = Told(dialect, stream, [piece("", name="f"), {"content": "so"}])
    assert bare.parts == [("tool_use", {}), ("text", "so")]


@each_way
def test_interleaved_calls_and_text_all_arrive(dialect: str, stream: bool) -> None:
    """Fragments of two calls that alternate, with text between, make two whole calls and the text."""
    deltas = [
        {"content": "first"},
        piece('{"a":', name="f"),
        piece('{"b":', 1, "g"),
        {"content": "x"},
        piece("1}"),
        {"reasoning": "y"},
        piece("2}", 1),
        piece("\n"),
        {"content": "last"},
    ]
    one = Told(dialect, stream, deltas)
    assert [said for kind, said in one.parts if kind == "tool_use"] == [{"a": 1}, {"b": 2}]
    assert "".join(said for kind, said in one.parts if kind != "tool_use") in ("firstxylast", "firstxlasty")


@each_way
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "length"])
def test_a_fragment_of_a_call_that_is_over_is_a_fault(dialect: str, stream: bool, finish: str) -> None:
    """What a caller has been told as whole never grows unseen."""
    late = [piece('{"a":1}', name="f"), {"content": "so"}, piece(',"b":2}')]
    assert Told(dialect, stream, late, finish).fault is BROKEN_CALL


@each_way
def test_a_cut_call_is_told_as_nothing_but_the_last(dialect: str, stream: bool) -> None:
    """At a limit, a call that is not whole and is followed by something is a fault; blanks are nothing."""
    cut = piece('{"a":', name="f")
    for after in ({"content": "so"}, {"reasoning": "so"}, piece('{"b":2}', 1, "g")):
        assert Told(dialect, stream, [cut, after], "length").fault is BROKEN_CALL
    assert Told(dialect, stream, [piece('{"a":1}', name="f"), {"content": "\n"}], "length").fault is None
    last = Told(dialect, stream, [{"content": "so"}, cut, {"content": "\n"}], "length")
    shown = [] if dialect == MESSAGES and not stream else [("tool_use", '{"a":')]
    assert last.parts == [("text", "so"), *shown]


@each_way
def test_what_waits_is_bounded(dialect: str, stream: bool) -> None:
    """Beyond the bound a call without arguments is taken to have none, and one amid its arguments is a fault."""
    much = [{"content": "x" * 4_096}] * (HELD_CHARS_MAX // 4_096)
    assert Told(dialect, stream, [piece('{"a":', name="f"), *much, piece("1}")]).fault is BROKEN_CALL
    bare = [piece("", name="f"), *much, {"content": "y"}]
    assert [kind for kind, _ in Told(dialect, stream, bare).parts] == ["tool_use", "text"]
    assert Told(dialect, stream, [*bare, piece("{}")]).fault is BROKEN_CALL
