"""Claude on Bedrock for callers of Messages: their own body, Claude's own events, and the same price as by Converse."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.dialects.blobs import Blob, seal
from schemas.dialects.messages.dialect import DIALECT
from schemas.dialects.messages.request import MESSAGES
from schemas.money.pricing import PriceTier, bill
from tests.fakes import bedrock, bedrock_claude, bedrock_frames
from tests.fakes.anthropic import framed
from tests.workers.providers.anthropic import cases as anthropic_cases
from tests.workers.providers.bedrock.cases import CLAUDE, CLAUDE_3, CLAUDE_EFFORT, NOVA, model
from tests.workers.providers.test_families import ACCOUNT
from workers.providers.anthropic.native import NativeExchange
from workers.providers.base import Exchange
from workers.providers.bedrock.converse import ConverseExchange
from workers.providers.bedrock.family import Bedrock
from workers.providers.bedrock.invoke import InvokeExchange

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
MARK = {"type": "ephemeral", "ttl": "1h"}
TIER = PriceTier(
    input=Decimal(3),
    output=Decimal(15),
    cached=Decimal("0.3"),
    cache_write=Decimal("3.75"),
    cache_write_long=Decimal(6),
)
BETAS = "interleaved-thinking-2025-05-14,context-management-2025-06-27,claude-code-20250219,fast-mode-1,effort-2025-11-24"


def job(body: dict[str, Any], upstream: str = CLAUDE, *, headers: Any = (), **fields: Any) -> Job:
    """A job of Messages, as an edge makes it."""
    decoded = DIALECT.decode(json.dumps({"model": "M", "max_tokens": 64, "messages": [USER]} | body).encode())
    DIALECT.read(decoded)
    raw = DIALECT.encode(decoded)
    return anthropic_cases.job(
        {},
        dialect=MESSAGES,
        upstream=upstream,
        body=raw,
        scope="s",
        headers=headers,
        stream=bool(body.get("stream")),
        **fields,
    )


def opened(body: dict[str, Any], row: Model | None = None, **fields: Any) -> Exchange:
    """The exchange of a body."""
    row = row or model()
    (made,) = Bedrock().open(job(body, row.upstream, **fields), row, {})
    return made


def sent(body: dict[str, Any], upstream: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    """What goes to Bedrock for a body: it must take that."""
    made = opened(body, model(upstream), **fields)
    assert isinstance(made, InvokeExchange)
    told: dict[str, Any] = json.loads(made.request(ACCOUNT).body)
    bedrock_claude.check(upstream, told)
    return told


def test_who_goes_by_converse():
    """Every Claude takes its own form; other models, and rows that say so, go by Converse."""
    for upstream in (CLAUDE, CLAUDE_3, CLAUDE_EFFORT):
        assert type(opened({}, model(upstream))) is InvokeExchange
    assert type(opened({}, model(NOVA))) is ConverseExchange
    row = model()
    able = structs.replace(row.capabilities, messages=False)
    assert type(opened({}, structs.replace(row, capabilities=able))) is ConverseExchange


@pytest.mark.parametrize(("stream", "verb"), [(True, "invoke-with-response-stream"), (False, "invoke")])
def test_the_call(stream: bool, verb: str):
    """The path names model and verb, the body neither; what is granted is what is sent."""
    made = opened({"stream": stream}, limit=40, write_limit=True)
    request = made.request(structs.replace(ACCOUNT, api_key=""))
    assert request.url.endswith(f"/model/{CLAUDE.replace(':', '%3A')}/{verb}")
    assert "Credential=AKIDEXAMPLE" in request.headers["Authorization"]
    assert json.loads(request.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 40,
        "messages": [USER],
    }


def test_a_body_goes_on_as_it_is():
    """System, blocks, marks, tools and sampling are the caller's own, byte for byte."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    body = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, picture]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x", "is_error": True, "cache_control": MARK},
            ]},
        ],
        "tools": [TOOL | {"description": "d", "cache_control": MARK}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "temperature": 0.5,
    }  # fmt: skip
    told = sent(body)
    assert {name: told[name] for name in body} == body


def test_only_known_flags_go_up_and_their_fields_with_them():
    """Bedrock refuses a flag that it does not know; a field whose flag is not sent is not sent either, and named."""
    edits = {"context_management": {"edits": []}, "service_tier": "auto"}
    told = sent({"stream": True, **edits}, headers=(("anthropic-beta", BETAS),))
    assert told["anthropic_beta"] == ["interleaved-thinking-2025-05-14", "effort-2025-11-24"]
    assert not edits.keys() & told.keys()
    fields = DIALECT.decode(json.dumps({"model": "M", "max_tokens": 9, "messages": [USER], **edits}).encode())
    ask = DIALECT.read(fields)
    assert set(DIALECT.bound(fields, ask, model()).dropped) == set(edits)
    assert "anthropic_beta" not in sent({}, headers=(("anthropic-beta", "claude-code-20250219"),))


def test_instructions_amid_a_conversation_become_the_users():
    """Bedrock has no turns of the system: they stand at the end of the user's turn before them, in its place."""
    wrapped = {"type": "text", "text": "<system-reminder>\nbe kind\n</system-reminder>"}
    system = {"role": "system", "content": "be kind"}
    told = sent({"messages": [USER, system, {"role": "assistant", "content": "yes"}, USER]})
    assert told["messages"][0] == {"role": "user", "content": [{"type": "text", "text": "hi"}, wrapped]}
    assert [turn["role"] for turn in told["messages"]] == ["user", "assistant", "user"]
    parts = {
        "role": "system",
        "content": [{"type": "text", "text": "be kind"}, {"type": "text", "text": " "}],
    }
    told = sent({"messages": [USER, {"role": "assistant", "content": "yes"}, parts]})
    assert told["messages"][2] == {"role": "user", "content": [wrapped]}


def test_what_bedrock_does_not_know_is_left_out():
    """Claude Code's note to Anthropic, and fields of tools whose flags Bedrock lacks."""
    note = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2"}
    tool = TOOL | {"defer_loading": True, "input_examples": [{}], "eager_input_streaming": True}
    told = sent({"system": [note, {"type": "text", "text": "Be brief."}], "tools": [tool]})
    assert told["system"] == [{"type": "text", "text": "Be brief."}]
    assert told["tools"] == [TOOL]
    assert "system" not in sent({"system": [note]})


def test_a_mark_on_all_of_a_request_stands_on_its_last_block():
    """It would be refused at the top; beside four others there is no room for it."""
    told = sent({"cache_control": MARK})
    assert told["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARK}]}
    ]
    full = [{"type": "text", "text": str(at), "cache_control": MARK} for at in range(4)]
    assert sent({"cache_control": MARK, "system": full})["messages"] == [USER]


def test_reasoning_comes_back_byte_for_byte():
    """A signature of Claude's goes up as it came; what another family gave, or the gateway sealed, is left out."""
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCg=="}
    foreign = signed | {"signature": seal("s", Blob("gemini", "g", "call", "proof"))}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000}
    history = [
        USER,
        {"role": "assistant", "content": [signed, foreign, {"type": "text", "text": "So."}]},
        USER,
    ]
    told = sent(thinking | {"messages": history})
    assert told["messages"][1]["content"] == [signed, {"type": "text", "text": "So."}]
    made = opened(thinking | {"messages": history})
    assert made.forget_thoughts()
    assert b"EqQBCg==" not in made.request(ACCOUNT).body


def events(counted: dict[str, Any]) -> list[dict[str, Any]]:
    """A message of all kinds of blocks, as events."""
    start = {"id": "msg_bdrk_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
             "stop_reason": None, "stop_sequence": None, "usage": counted | {"output_tokens": 1}}  # fmt: skip
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"type": "thinking", "thinking": "", "signature": ""}, [
            {"type": "thinking_delta", "thinking": "Hm. \u00e9"}, {"type": "signature_delta", "signature": "EqQBCg=="}]),
        ({"type": "text", "text": ""}, [
            {"type": "text_delta", "text": "So"}, {"type": "citations_delta", "citation": {"type": "page_location"}}]),
        ({"type": "tool_use", "id": "toolu_bdrk_1", "name": "f", "input": {}}, [
            {"type": "input_json_delta", "partial_json": ""}, {"type": "input_json_delta", "partial_json": '{"n": 1}'}]),
    ]  # fmt: skip
    out: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for at, (block, deltas) in enumerate(blocks):
        out.append({"type": "content_block_start", "index": at, "content_block": block})
        out += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        out.append({"type": "content_block_stop", "index": at})
    delta = {"stop_reason": "tool_use", "stop_sequence": None}
    return [*out, {"type": "message_delta", "delta": delta, "usage": counted}, {"type": "message_stop"}]


COUNTED = {
    "input_tokens": 9,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 2,
    "output_tokens": 7,
}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_events_are_those_of_anthropic_byte_for_byte(size: int):
    """A caller cannot tell by which way Claude was asked: only what Bedrock adds to the last event is taken off."""
    told = events(COUNTED)
    asked = job({"stream": True})
    direct = NativeExchange(asked, anthropic_cases.NEW)
    direct.request(ACCOUNT)
    expected = direct.feed(b"".join(map(framed, told)))
    told[-1] = told[-1] | {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 9, "outputTokenCount": 7}}
    made = opened({"stream": True})
    made.request(ACCOUNT)
    data = b"".join(map(bedrock_claude.chunk, told))
    out = b"".join(made.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert made.finished
    # The fake's JSON has other blanks than Anthropic's: what is in it is the same.
    assert [_event(part) for part in out.split(b"\n\n")] == [_event(part) for part in expected.split(b"\n\n")]
    assert b"amazon" not in out
    assert (made.usage, made.said.count_bytes) == (direct.usage, direct.said.count_bytes)
    assert made.uplifts == ("us",)


def _event(part: bytes) -> Any:
    name, _, data = part.partition(b"\ndata: ")
    return (name, json.loads(data)) if data else part


def test_deltas_are_not_written_anew():
    """An event's bytes are those that came, blanks and escapes included."""
    raw = b'{ "type":"content_block_delta","index":0, "delta":{"type":"text_delta","text":"\\u00e9"} }'
    made = opened({"stream": True})
    made.request(ACCOUNT)
    frame = bedrock_frames.event("chunk", {"bytes": base64.b64encode(raw).decode()})
    assert made.feed(frame) == b"event: content_block_delta\ndata: " + raw + b"\n\n"


def test_a_plain_answer_has_the_callers_names():
    """Id and model are the call's; all else is Claude's own."""
    answer = bedrock_claude.message(bedrock.answer("Hi"))
    made = opened({})
    made.request(ACCOUNT)
    told = json.loads(made.answer(json.dumps(answer).encode()))
    assert (told["id"], told["model"]) == ("msg_1", "M")
    assert told["content"] == [{"type": "text", "text": "Hi"}]
    assert made.finished


@pytest.mark.parametrize(
    "frame",
    [
        bedrock_frames.exception("throttlingException", "slow"),
        bedrock_frames.exception("modelStreamErrorException", "gone wrong"),
        bedrock_frames.event("chunk", {"bytes": "?"}),
        bedrock_frames.event("chunk", {"bytes": base64.b64encode(b"{").decode()}),
        bedrock_claude.chunk({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
        bytes(64),
    ],
    ids=["throttled", "failed", "no base64", "no json", "claude's error", "no frame"],
)
def test_failures_in_a_stream(frame: bytes):
    """An exception, nonsense and an error of Claude's own each end it as a fault, never as an answer."""
    first = b"".join(map(bedrock_claude.chunk, events(COUNTED)[:4]))
    made = opened({"stream": True})
    made.request(ACCOUNT)
    out = made.feed(first + frame) + made.close()
    assert b"message_stop" not in out
    assert made.fault is not None
    assert not made.finished


def test_an_end_of_file_before_the_last_event_is_a_cut():
    """Whatever came before it, a stream without its message_stop is not whole."""
    told = events(COUNTED)
    for count in range(len(told)):
        made = opened({"stream": True})
        made.request(ACCOUNT)
        made.feed(b"".join(map(bedrock_claude.chunk, told[:count])))
        made.close()
        assert made.fault is not None


tokens = st.integers(0, 100_000)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[tokens] * 5), st.booleans())
def test_both_ways_cost_the_same_to_the_nano(figures, stream):
    """The same figures of one upstream, by Converse's names and by Claude's, are one bill, region included."""
    fresh, read, short, long, output = figures
    counted = bedrock.usage(
        fresh,
        output,
        cacheReadInputTokens=read,
        cacheWriteInputTokens=short + long,
        cacheDetails=[{"ttl": "5m", "inputTokens": short}, {"ttl": "1h", "inputTokens": long}],
    )
    answer = bedrock.answer("Hi", counted=counted)
    row = model(CLAUDE, TIER, us=Decimal("1.1"))
    able = structs.replace(row.capabilities, messages=False)
    bills = []
    for way in (row, structs.replace(row, capabilities=able)):
        made = opened({"stream": stream}, way, prompt_max=10**7, limit=10**6, price=row.prices[0])
        made.request(ACCOUNT)
        if stream:
            told = bedrock.stream_of(answer)
            made.feed(b"".join(told if way is not row else bedrock_claude.retold(told)))
        else:
            body = answer if way is not row else bedrock_claude.message(answer)
            made.answer(json.dumps(body).encode())
        assert made.finished
        assert made.usage is not None
        bills.append(
            (made.usage, made.uplifts, bill(made.usage, row.prices[0], row.rate, made.uplifts, 10**18))
        )
    assert bills[0] == bills[1]
    assert bills[0][1] == ("us",)
