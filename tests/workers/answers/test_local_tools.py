"""Calls of OpenAI's own tools that run at the caller, made by other models: items of their own types, whole at once."""

import functools
import json
from typing import Any

import pytest
from openai.types.responses import Response
from openai.types.responses.response_stream_event import ResponseStreamEvent
from pydantic import TypeAdapter

from schemas.responses.local_tools import LOCAL_TOOLS
from tests.workers.answers.test_responses import answer_of, events

PATCH = {"type": "update_file", "path": "a.py", "diff": "@@\\n-x\\n+y"}
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("shell", {"commands": ["ls", "pwd"], "timeout_ms": 5}, {"commands": ["ls", "pwd"], "timeout_ms": 5}),
    ("shell", {"commands": "ls"}, {"commands": ["ls"]}),
    ("shell", {"commands": [1]}, {"commands": []}),
    ("shell", [], {"commands": []}),
    ("local_shell", {"command": ["ls", "-l"]}, {"command": ["ls", "-l"], "type": "exec", "env": {}}),
    ("local_shell", {"command": "ls -l"}, {"command": ["sh", "-c", "ls -l"]}),
    ("local_shell", {"command": ["x"], "working_directory": "/d"}, {"working_directory": "/d"}),
    ("local_shell", {"working_directory": 5}, {"command": []}),
    ("apply_patch", PATCH, PATCH),
    ("apply_patch", {"type": "delete_file", "path": "a", "diff": "x"}, {"type": "delete_file", "path": "a"}),
    ("apply_patch", {"type": "create_file", "path": "a"}, {"type": "create_file", "path": "a", "diff": ""}),
    ("apply_patch", {"type": "rename", "path": 5}, {"type": "update_file", "path": "", "diff": ""}),
]


def called(kind: str, arguments: str, reason: str = "tool_calls", **asked: Any) -> bytes:
    """An answer of one call, its arguments in pieces."""
    one = answer_of(tools=[{"type": kind}], **asked)
    out = one.open(0) + one.tool(0, "call_a", kind)
    for at in range(0, len(arguments), 7):
        out += one.arguments(0, arguments[at : at + 7])
    return out + one.finish(0, reason) + one.end(None)


@functools.cache
def event_type() -> TypeAdapter[Any]:
    """Events as the SDK has them: a third of a second of CPU to make."""
    return TypeAdapter(ResponseStreamEvent)


@pytest.mark.parametrize(("kind", "arguments", "told"), CASES)
def test_a_call_comes_back_as_its_own_item(kind: str, arguments: Any, told: dict[str, Any]) -> None:
    """With the fields that its arguments ask for, in types that the SDK takes; of another form they ask for nothing."""
    tool = LOCAL_TOOLS[kind]
    said = events(called(kind, json.dumps(arguments)))
    for event in said:
        event_type().validate_python(event, strict=True)
    added, done = [event for event in said if "output_item" in event["type"]]
    item = done["item"]
    assert (item["type"], item["call_id"], item["status"]) == (tool.call, "call_a", "completed")
    assert item["id"].startswith(f"{tool.prefix}_")
    fields = item.get("action") or item["operation"]
    assert {name: fields[name] for name in told} == told
    assert (added["item"]["id"], added["item"]["status"]) == (item["id"], "in_progress")
    if kind == "apply_patch":  # clients read of the first event which file a change is of
        assert added["item"]["operation"]["path"] == fields["path"]
        assert added["item"]["operation"].get("diff", "") == ""
    assert said[-1]["response"]["output"] == [item]
    plain = json.loads(called(kind, json.dumps(arguments), stream=False))
    Response.model_validate(plain, strict=True)
    assert plain["output"] == [item]


@pytest.mark.parametrize("kind", LOCAL_TOOLS)
def test_a_call_that_was_cut_asks_for_nothing(kind: str) -> None:
    """Half a command is not to be run, even where what came of it can be read."""
    whole = {"commands": ["rm -r /x"], "command": ["rm"], "type": "delete_file", "path": "/x"}
    plain = json.loads(called(kind, json.dumps(whole), "length", stream=False))
    (item,) = plain["output"]
    assert item["status"] in ("incomplete", "in_progress")
    fields = item.get("action") or item["operation"]
    assert not fields.get("commands")
    assert not fields.get("command")
    assert not fields.get("path")
