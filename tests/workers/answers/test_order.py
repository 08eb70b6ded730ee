"""What every stream of the two newer dialects keeps, whatever order a provider says things in."""

import json
import random
from typing import Any

import pytest

from schemas.dialects import NAMED
from schemas.dialects.base import Ending
from schemas.dialects.messages.request import MESSAGES
from schemas.money.pricing import TokenUsage
from schemas.responses.request import RESPONSES
from tests.workers.providers.anthropic.cases import job
from workers.answers import answers

STREAMS = 60
CUSTOM = {"type": "custom", "name": "patch"}
# The names of OpenAI's own events: its client for Node raises on any other.
NAMES = {
    "response.created",
    "response.in_progress",
    "response.completed",
    "response.incomplete",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.refusal.delta",
    "response.refusal.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta",
    "response.custom_tool_call_input.done",
}
CUSTOM_EVENTS = "response.custom_tool_call_input."


def said(dialect: str, seed: int, more: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream in which a provider says anything in any order."""
    dice = random.Random(seed)
    body = {"model": "M", "max_tokens": 99, "thinking": {"type": "adaptive"}, **more}
    raw = json.dumps(body).encode()
    (answer,) = answers(job(body, dialect=dialect, stream=True, body=raw, request_id="req_1", scope="s"))
    out = answer.open(0)
    for number in range(dice.randint(1, 8)):
        kind = dice.randrange(5)
        if kind == 0:
            out += answer.text(0, dice.choice(("a", "日本", "")))
        elif kind == 1:
            out += answer.reasoning(0, "hm")
        elif kind == 2 and dialect == RESPONSES:
            out += answer.refusal(0, "no")
        else:
            name = dice.choice(("f", "patch"))
            out += answer.tool(0, f"call_{number}", name)
            wrapped = ('{"input": "', "x", '"}') if name == "patch" else ('{"a"', ":1", "}")
            out += b"".join(answer.arguments(0, piece) for piece in wrapped[: dice.choice((0, 3))])
            out += answer.tool_end(0) if dice.random() < 0.5 else b""
    out += answer.finish(0, dice.choice(("stop", "tool_calls", "content_filter")))
    out += answer.end(TokenUsage(input=5, output=7))
    blocks = [block.split(b"\n") for block in out.split(b"\n\n") if block and not block.startswith(b":")]
    for event, data in blocks:
        assert event == b"event: " + json.loads(data[6:])["type"].encode()
        assert data.startswith(b"data: {")
    return [json.loads(data[6:]) for _, data in blocks]


@pytest.fixture(scope="module")
def streams():
    """Streams of Responses."""
    return [said(RESPONSES, seed, {"input": "hi", "tools": [CUSTOM]}) for seed in range(STREAMS)]


def test_no_delta_comes_before_its_item(streams):
    """Reasoning, text, refusals and arguments stand between the opening and the end of their own item."""
    for events in streams:
        current = None
        for event in events:
            match event["type"]:
                case "response.output_item.added":
                    assert current is None
                    current = event["item"]["id"]
                case "response.output_item.done":
                    assert event["item"]["id"] == current
                    current = None
                case _ if "item_id" in event:
                    assert event["item_id"] == current
        assert current is None


def test_every_call_is_closed(streams):
    """With its whole arguments, once, and then as an item: a call that stays open wedges a session."""
    for events in streams:
        for event in events:
            item = event.get("item", {})
            if event["type"] != "response.output_item.done" or "call" not in item["type"]:
                continue
            own = [one for one in events if one.get("item_id") == item["id"]]
            field = "input" if item["type"] == "custom_tool_call" else "arguments"
            (done,) = [one for one in own if one["type"].endswith(".done")]
            assert done[field] == item[field]
            assert "".join(one["delta"] for one in own if one["type"].endswith(".delta")) == item[field]
            assert field == "input" or json.loads(item[field]) is not None


def test_an_item_is_the_same_wherever_it_stands(streams):
    """One id and one call id in its first event, each delta, its last event, and the response at the end."""
    for events in streams:
        added = [one["item"] for one in events if one["type"] == "response.output_item.added"]
        done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        assert [item["id"] for item in added] == [item["id"] for item in done]
        assert len({item["id"] for item in done}) == len(done)
        assert [item.get("call_id") for item in added] == [item.get("call_id") for item in done]
        assert events[-1]["response"]["output"] == done


def test_events_and_items_are_counted(streams):
    """From 0, each one more than the last: no number is missing, fixed, or used for two items."""
    for events in streams:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        added = [one["output_index"] for one in events if one["type"] == "response.output_item.added"]
        assert added == list(range(len(added)))


def test_the_last_event_holds_the_whole_answer(streams):
    """With id, object, model, status, every item and a usage of this dialect; the head has the same id and no items."""
    for events in streams:
        first, last = events[0]["response"], events[-1]["response"]
        assert (first["id"], first["object"], first["model"]) == (last["id"], last["object"], last["model"])
        assert (first["status"], first["output"]) == ("in_progress", [])
        assert last["status"] in ("completed", "incomplete")
        assert {"input_tokens", "output_tokens", "total_tokens"} <= last["usage"].keys()
        assert not {"prompt_tokens", "completion_tokens"} & last["usage"].keys()


def test_events_have_the_protocols_own_names(streams):
    """No ping, no cost, no invention; and a function's arguments never come as a custom tool's input."""
    for events in streams:
        assert {event["type"] for event in events} <= NAMES
        kinds = {one["item"]["id"]: one["item"]["type"] for one in events if "item" in one}
        for event in events:
            if event["type"].startswith(CUSTOM_EVENTS):
                assert kinds[event["item_id"]] == "custom_tool_call"


def test_a_messages_stream_opens_with_a_usage_of_whole_numbers():
    """Clients fail where it lacks a count, and show nothing where the input is 0: it is an estimate until the end."""
    for seed in range(STREAMS):
        events = said(MESSAGES, seed, {"messages": [{"role": "user", "content": "hi"}]})
        usage = events[0]["message"]["usage"]
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ):
            assert type(usage[name]) is int
        assert usage["input_tokens"] > 0
        assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


def test_a_messages_stream_ends_with_its_last_event():
    """No `[DONE]`, neither of the worker nor of the edge behind it: it is the older protocol's word."""
    assert NAMED[MESSAGES].end(Ending("req_1", "M", 9)) == b""
    assert NAMED[RESPONSES].end(Ending("req_1", "M", 9)) == b""


def test_blocks_of_a_messages_stream_follow_one_another():
    """Each is opened before its deltas, which are of its kind, and closed before the next."""
    kinds = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
    for seed in range(STREAMS):
        block, index = None, -1
        for event in said(MESSAGES, seed, {"messages": [{"role": "user", "content": "hi"}]}):
            match event["type"]:
                case "content_block_start":
                    assert block is None
                    block, index = event["content_block"]["type"], index + 1
                    assert event["index"] == index
                case "content_block_delta":
                    assert event["index"] == index
                    assert event["delta"]["type"] == kinds[block]
                case "content_block_stop":
                    assert (event["index"], block is None) == (index, False)
                    block = None
        assert block is None
