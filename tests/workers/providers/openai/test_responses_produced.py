"""What a response has produced, for estimates: the same of a stream and of a plain answer, in pieces or whole."""

import json
from typing import Any

import pytest

from schemas.money.pricing import TokenUsage
from tests.workers.providers.openai.test_responses import ELSEWHERE, MODEL, exchange, made
from workers.providers.openai.family import OpenAI

TEXT = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Grüße"}]}
REFUSAL = {"type": "message", "id": "msg_2", "content": [{"type": "refusal", "refusal": "No."}]}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "gAAAA" * 1_000,
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": '{"a":1}'}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "b", "name": "g", "input": "raw"}
SHELL = {"type": "shell_call", "id": "sh_1", "call_id": "c", "action": {"commands": ["ls"]}}
ITEMS = [
    (TEXT, len("Grüße".encode())),
    (REFUSAL, 3),
    (REASONING, 3),
    (CALL, 7),
    (CUSTOM, 3),
    (SHELL, len('{"commands": ["ls"]}')),
]


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return (
        b"data: " + json.dumps({"type": f"response.{kind}", **fields}, ensure_ascii=False).encode() + b"\n\n"
    )


def ended(items: list[dict[str, Any]], **fields: Any) -> bytes:
    """A stream's last event."""
    return event("completed", response={"status": "completed", "output": items, **fields})


@pytest.mark.parametrize(("item", "size"), ITEMS, ids=[item["id"] for item, _ in ITEMS])
@pytest.mark.parametrize("told", ["whole", "in pieces", "at the end alone", "plain"])
def test_an_item_counts_once(item: dict[str, Any], size: int, told: str) -> None:
    """Its words, however they come, and neither what proves its reasoning nor the JSON around them."""
    one = exchange({"stream": told != "plain"})
    begins = event("output_item.added", output_index=0, item={"type": item["type"]})
    ends = event("output_item.done", output_index=0, item=item)
    pieces = b"".join(event("x.delta", delta=piece) for piece in ("a" * (size - 1), "b"))
    match told:
        case "plain":
            one.answer(json.dumps({"status": "completed", "output": [item]}, ensure_ascii=False).encode())
        case "whole":
            one.feed(begins + ends)
            assert one.output_bytes == size
            one.feed(ended([item]))
        case "in pieces":
            one.feed(begins + pieces)
            assert one.output_bytes == size
            one.feed(ends + ended([item]))
        case _:
            one.feed(ended([item]))
    assert one.finished
    assert one.usage is None
    assert one.output_bytes == size


def test_items_beside_one_another_count_once_each() -> None:
    """One comes whole while another comes in pieces; a third follows."""
    one = exchange({"stream": True})
    begins = [event("output_item.added", item={"type": "x"}) for _ in range(3)]
    ends = [event("output_item.done", item=item) for item in (CALL, CUSTOM, TEXT)]
    one.feed(begins[0] + event("x.delta", delta="1234567") + begins[1] + ends[0] + ends[1])
    assert one.output_bytes == 10
    one.feed(begins[2] + ends[2])
    assert one.output_bytes == 10 + 7


@pytest.mark.parametrize("item", [{"content": 5}, {"content": ["x", {"text": 5}]}, {"summary": {}}, {}])
def test_what_is_no_item_is_no_output(item: Any) -> None:
    """Nothing of it is a word, and nothing raises."""
    one = exchange({"stream": True})
    one.feed(event("output_item.done", item=item) + ended([item]))
    assert (one.finished, one.output_bytes) == (True, 0)


def test_other_servers_usage_is_read_as_in_chat() -> None:
    """What they count beside OpenAI's sums is billed in this dialect as in that one."""
    usage = {"input_tokens": 10.0, "output_tokens": 5, "total_tokens": 40}
    (one,) = OpenAI().open(made({"stream": True}), MODEL, {})
    one.request(ELSEWHERE)
    one.feed(ended([TEXT], usage=usage))
    assert one.usage == TokenUsage(input=10, output=5, reasoning=25)
    own = exchange({"stream": True})
    own.feed(ended([TEXT], usage=usage))
    assert own.usage is None  # a count of OpenAI's own is whole
