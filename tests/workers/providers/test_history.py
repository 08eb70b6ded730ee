"""What a history says of the tool calls whose signatures a family wants, in the dialect of Responses."""

import json
from typing import Any

import pytest

from schemas.responses.request import RESPONSES
from tests.workers.providers.anthropic.cases import job
from workers.providers.bedrock.family import Bedrock
from workers.providers.gemini.family import Gemini

USER = {"role": "user", "content": "go"}


def call(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "ok"}


HISTORY = [
    USER,
    call("a"),
    output("a"),
    USER,
    call("b"),
    {"role": "assistant", "content": "and"},
    call("c"),
    output("b"),
    output("c"),
    {"type": "custom_tool_call", "call_id": "d", "name": "p", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "d", "output": "ok"},
]


def ids(family: Any, items: Any, **more: Any) -> list[str]:
    """The calls whose signatures are looked up."""
    body = {"model": "M", "input": items, "reasoning": {"effort": "high"}, **more}
    return list(family.thought_ids(job({}, dialect=RESPONSES, body=json.dumps(body).encode())))


def test_gemini_wants_those_of_every_call() -> None:
    """In their order."""
    assert ids(Gemini(), HISTORY) == ["a", "b", "c", "d"]


def test_bedrock_wants_the_first_of_each_step_of_the_running_turn() -> None:
    """Steps are split by results, and not by what is said among their calls."""
    assert ids(Bedrock(), HISTORY) == ["b", "d"]


@pytest.mark.parametrize("items", ["hi", [USER], [5], None, [{"type": "x_call"}]])
def test_a_history_without_calls_wants_none(items: Any) -> None:
    """Nor does one that cannot be read."""
    assert ids(Gemini(), items) == ids(Bedrock(), items) == []
