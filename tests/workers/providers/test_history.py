"""What a history says of the tool calls whose signatures a family wants, in the dialect of Responses."""

import json
import time
from typing import Any

import pytest

from schemas.bus.frames import Job
from schemas.responses.request import RESPONSES
from tests.fakes import costs
from tests.workers.providers.anthropic.cases import job
from workers.providers.bedrock.family import Bedrock
from workers.providers.gemini.family import Gemini
from workers.providers.history import messages_with_calls

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


def test_a_long_turn_costs_what_its_calls_do() -> None:
    """Four times the calls take four times the work, with room for noise; not 16."""

    def asked(size: int) -> Job:
        body = {"model": "M", "input": [call(f"call_{index}") for index in range(size)]}
        return job({}, dialect=RESPONSES, body=json.dumps(body).encode())

    def cpu_s(of: Job, size: int) -> float:
        began = time.process_time()
        (turn,) = messages_with_calls(of)
        spent_s = time.process_time() - began
        assert len(turn.tool_calls or ()) == size
        return spent_s

    large, small = asked(16_000), asked(4_000)
    assert costs.ratio(lambda: cpu_s(large, 16_000), lambda: cpu_s(small, 4_000), 2) < 8


@pytest.mark.parametrize("items", ["hi", [USER], [5], None, [{"type": "x_call"}]])
def test_a_history_without_calls_wants_none(items: Any) -> None:
    """Nor does one that cannot be read."""
    assert ids(Gemini(), items) == ids(Bedrock(), items) == []
