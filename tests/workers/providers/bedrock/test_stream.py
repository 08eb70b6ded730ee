import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.money.pricing import TokenUsage
from tests.fakes import bedrock as fake
from tests.fakes import bedrock_frames as frames
from tests.workers.providers.bedrock.cases import CLAUDE_EFFORT, NOVA, chunks, exchange, feed, job, model
from workers.providers.base import Action
from workers.providers.bedrock.family import Bedrock

ACCOUNT = AccountSettings(id="a", region="us-east-1", bearer_token="t")


def delta(index: int, **said) -> bytes:
    return frames.event("contentBlockDelta", {"contentBlockIndex": index, "delta": said})


def tool_start(index: int, call_id: str, name: str) -> bytes:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return frames.event("contentBlockStart", {"contentBlockIndex": index, "start": start})


def stop(index: int) -> bytes:
    return frames.event("contentBlockStop", {"contentBlockIndex": index})


def end(reason: str, **counted) -> list[bytes]:
    return [
        frames.event("messageStop", {"stopReason": reason}),
        frames.event("metadata", {"usage": counted or fake.usage(10, 2), "metrics": {"latencyMs": 9}}),
    ]


START = frames.event("messageStart", {"role": "assistant"})
E3 = [
    START,
    delta(0, text="Hi"),
    stop(0),
    tool_start(1, "tooluse_1", "f"),
    delta(1, toolUse={"input": '{"a":1}'}),
    stop(1),
    *end(
        "tool_use",
        inputTokens=10,
        outputTokens=42,
        totalTokens=157,
        cacheReadInputTokens=100,
        cacheWriteInputTokens=5,
    ),
]
E3_CLIENT = (
    'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"tooluse_1","type":"function",'
    '"function":{"name":"f","arguments":""}}]},"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\":1}"}}]},'
    '"finish_reason":null}],"usage":null}\n\n'
    'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":115,"completion_tokens":42,"total_tokens":157,'
    '"prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":5}}}\n\n'
)
E5_EVENT = (
    b'data: {"error":{"message":"The upstream provider is overloaded.","type":"service_unavailable_error",'
    b'"param":null,"code":"server_is_overloaded"}}\n\n'
)


@pytest.mark.parametrize("piece_bytes", [1, 0, 7])
def test_e3_converse_stream_byte_for_byte(piece_bytes):
    """Fixture E3: text, then a tool, in any cut."""
    call = exchange()
    assert feed(call, b"".join(E3), piece_bytes) == E3_CLIENT
    assert call.finished
    assert call.fault is None
    assert call.usage == TokenUsage(input=10, cached=100, cache_write=5, output=42)
    assert call.output_bytes == len('Hi{"a":1}')


@pytest.mark.parametrize("piece_bytes", [1, 0])
def test_e5_throttled_after_content(piece_bytes):
    """Fixture E5: what came before is kept, then the error, no finish reason, billed for what was sent."""
    call = exchange()
    data = START + delta(0, text="Hi") + frames.exception("throttlingException", "Too many tokens")
    seen = feed(call, data, piece_bytes)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks(seen)] == [None, None]
    assert call.fault is not None
    assert call.fault.error.event() == E5_EVENT
    assert not call.fault.unbilled
    assert not call.finished
    assert call.output_bytes == 2


@pytest.mark.parametrize("after", range(len(E3)))
@pytest.mark.parametrize("torn_bytes", [0, 5])
def test_c38_a_cut_after_any_event_is_a_fault_never_a_clean_end(after, torn_bytes):
    """Whether the stream ends between two events or inside one: no finish reason is made up, no usage is shown."""
    call = exchange()
    data = b"".join(E3[:after])
    seen = feed(call, data + E3[after][:torn_bytes])
    assert call.fault is not None
    assert not call.finished
    assert not call.fault.unbilled
    assert call.fault.error.status == 502
    for chunk in chunks(seen):
        assert chunk["choices"][0]["finish_reason"] is None
    assert E3_CLIENT.startswith(seen)


@pytest.mark.parametrize(
    ("name", "status", "code", "action"),
    [
        ("internalServerException", 502, "upstream_error", Action.NEXT),
        ("modelStreamErrorException", 502, "upstream_error", Action.NEXT),
        ("validationException", 400, None, Action.STOP),
        ("throttlingException", 429, "rate_limit_exceeded", Action.COOL),
        ("serviceUnavailableException", 503, "server_is_overloaded", Action.NEXT),
        ("modelTimeoutException", 504, "upstream_timeout", Action.NEXT),
        ("somethingNewException", 502, "upstream_error", Action.NEXT),
    ],
)
def test_c33_exceptions_in_the_stream_are_classed_by_name(name, status, code, action):
    """Botocore calls all of them 400; here the first frame of a stream keeps its meaning, and may be tried again."""
    call = exchange()
    feed(call, frames.exception(name, "said so", originalStatusCode=429))
    assert call.fault is not None
    assert (call.fault.error.status, call.fault.error.code, call.fault.action) == (status, code, action)
    assert call.fault.unbilled
    late = exchange()
    feed(late, START + delta(0, text="x") + frames.exception(name, "said so"))
    assert late.fault is not None
    assert not late.fault.unbilled


def test_c32_every_frame_is_asked_what_it_is():
    """An exception, or an error frame, between events ends the stream as a fault, not in silence."""
    for frame in (frames.exception("internalServerException", "x"), frames.error("InternalFailure", "x")):
        call = exchange()
        seen = feed(call, b"".join(E3[:2]) + frame + b"".join(E3[2:]))
        assert call.fault is not None
        assert call.fault.error.status == 502
        assert len(chunks(seen)) == 2


@pytest.mark.parametrize(
    "bad",
    [
        frames.encode_frame({":event-type": "contentBlockDelta", ":message-type": "event"}, b"{nonsense"),
        frames.encode_frame({":event-type": "contentBlockDelta", ":message-type": "event"}, b'{"delta":[]}'),
        frames.encode_frame({":event-type": "messageStop", ":message-type": "event"}, b"{}"),
        delta(0, text="x")[:-1] + b"\x00",
        delta(3, toolUse={"input": "{}"}),
        b'data: {"not":"an event stream"}\n\n',
    ],
)
def test_nonsense_is_a_fault_and_what_came_before_it_is_kept(bad):
    """An event that is not JSON, not of its shape, or not a frame at all."""
    call = exchange()
    seen = feed(call, START + delta(0, text="Hi") + bad)
    assert call.fault is not None
    assert call.fault.error.status == 502
    assert len(chunks(seen)) == 2


def test_unknown_events_and_paddings_are_passed_over():
    """New events, new keys and the random padding change nothing."""
    extra = frames.event("somethingNew", {"a": 1})
    padded = frames.event(
        "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}, "p": "abcdefg", "z": {}}
    )
    call = exchange()
    seen = feed(call, b"".join([START, extra, padded, stop(0), *E3[3:6], extra, *E3[6:]]))
    assert seen == E3_CLIENT


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_newer", "stop"),
    ],
)
def test_stop_reasons(reason, finish):
    """Each stop reason, streamed and whole; an empty answer that was filtered is an answer (C19)."""
    call = exchange()
    seen = chunks(feed(call, b"".join([START, *end(reason)])))
    assert [chunk["choices"][0]["finish_reason"] for chunk in seen[:-1]] == [None, finish]
    assert seen[-1]["choices"] == []
    plain = exchange(stream=False)
    body = fake.answer(stop=reason)
    body["output"]["message"]["content"] = []
    answer = chunks("data: " + plain.answer(_json(body)).decode() + "\n\n")[0]
    assert answer["choices"][0]["finish_reason"] == finish
    assert plain.finished


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_malformed_answer_is_the_upstreams_failure(reason):
    """It is billed by the provider and of no use to the caller: an error, with the usage that was reported."""
    call = exchange()
    feed(call, b"".join([START, delta(0, text="x"), *end(reason)]))
    assert call.fault is not None
    assert call.fault.error.status == 502
    assert not call.fault.unbilled
    assert call.usage == TokenUsage(input=10, output=2)
    plain = exchange(stream=False)
    assert plain.answer(_json(fake.answer(stop=reason))) == b""
    assert plain.fault is not None


def test_c13_c14_c16_parallel_calls_have_indexes_of_their_own_and_say_their_names_once():
    """Indexes count the calls, not the provider's blocks; ids and names come in the opener alone."""
    parts = [START, delta(0, text="ok"), stop(0)]
    for k in range(3):
        parts += [tool_start(k + 1, f"t{k}", f"f{k}"), delta(k + 1, toolUse={"input": '{"k":'})]
        parts += [delta(k + 1, toolUse={"input": f"{k}}}"}), stop(k + 1)]
    seen = chunks(feed(exchange(), b"".join([*parts, *end("tool_use")])))
    calls = [
        c for chunk in seen if chunk["choices"] for c in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert [c["index"] for c in calls] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [(c["id"], c["function"]["name"]) for c in calls if "id" in c] == [
        (f"t{k}", f"f{k}") for k in range(3)
    ]
    assert [c["function"]["arguments"] for c in calls] == [
        text for k in range(3) for text in ("", '{"k":', f"{k}}}")
    ]


def test_a_tool_without_arguments_gets_an_empty_object():
    """A block that closes without a fragment must end as {}."""
    seen = feed(exchange(), b"".join([START, tool_start(0, "t", "f"), stop(0), *end("tool_use")]))
    assert '"arguments":"{}"' in seen


def test_tools_of_the_providers_own_are_not_the_callers_to_answer():
    """A server tool's blocks are passed over."""
    start = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}}
    parts = [
        START,
        frames.event("contentBlockStart", {"contentBlockIndex": 0, "start": start}),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        delta(1, text="Hi"),
        *end("end_turn"),
    ]
    seen = feed(exchange(NOVA), b"".join(parts))
    assert "tool_calls" not in seen
    assert '"content":"Hi"' in seen


def test_c15_c04_c05_c06_the_order_of_chunks():
    """A role first; usage null on all but the last, whose choices are empty; no usage at all unless asked for."""
    seen = chunks(feed(exchange(), b"".join(E3)))
    assert seen[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(chunk["usage"] is None for chunk in seen[:-1])
    assert seen[-1]["choices"] == []
    head = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"M",'
    call = exchange()
    assert call.feed(b"".join(E3)).count(head) == len(seen)


def test_c05_usage_is_sent_only_where_it_was_asked_for():
    """No usage chunk, and no key of that name, unless the caller asked; the bill is the same."""
    asked = structs.replace(job(), include_usage=False)
    call = Bedrock().open(asked, model(), {})[0]
    assert "usage" not in feed(call, b"".join(E3))
    assert call.usage == TokenUsage(input=10, cached=100, cache_write=5, output=42)


def test_c43_characters_cut_in_halves_arrive_whole():
    """Frames are cut as bytes first, so no character is ever decoded in halves."""
    text = "日本語 🙂 ÄÖ"
    call = exchange()
    assert text in feed(call, b"".join([START, delta(0, text=text), *end("end_turn")]), 1)
    assert call.output_bytes == len(text.encode())


def test_reasoning_is_counted_kept_and_shown():
    """Thinking is `reasoning_content`, output for estimates, and is asked back with the tool call that followed it."""
    parts = [
        START,
        delta(0, reasoningContent={"text": "let me "}),
        delta(0, reasoningContent={"text": "see"}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        stop(0),
        tool_start(1, "t1", "f"),
        delta(1, toolUse={"input": "{}"}),
        stop(1),
        tool_start(2, "t2", "f"),
        delta(2, toolUse={"input": "{}"}),
        stop(2),
    ]
    call = exchange(CLAUDE_EFFORT)
    seen = feed(call, b"".join([*parts, *end("tool_use")]))
    assert seen.count('"delta":{"reasoning_content":"') == 2
    assert call.output_bytes == len("let me see{}{}")
    assert call.thoughts == {"t1": '[{"reasoningText":{"text":"let me see","signature":"c2ln"}}]'}
    again = exchange(NOVA)
    feed(again, b"".join([*parts, *end("tool_use")]))
    assert again.thoughts == {}


def test_a_second_try_starts_from_nothing():
    """After a fault another account is asked: nothing of the first try is left in the second."""
    call = exchange()
    feed(call, b"".join(E3[:5]))
    assert call.fault is not None
    call.request(ACCOUNT)
    assert (call.fault, call.usage, call.output_bytes, call.finished) == (None, None, 0, False)
    assert feed(call, b"".join(E3)) == E3_CLIENT


def test_bedrock_bills_what_is_abandoned():
    """C36: a stream that its caller left is drained, since the whole answer is billed."""
    assert Bedrock.bills_abandoned


@given(data=st.data())
def test_any_bytes_are_a_fault_or_an_answer_never_an_exception(data):
    """Random frames of random JSON, cut anywhere: the exchange never raises."""
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["delta", "text", "toolUse", "input", "start", "usage", "stopReason", "inputTokens"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
    names = [
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    parts = data.draw(st.lists(st.tuples(st.sampled_from(names), value), max_size=6))
    raw = b"".join(
        frames.encode_frame({":event-type": name, ":message-type": "event"}, _json(body))
        for name, body in parts
    )
    call = exchange()
    feed(call, raw, data.draw(st.integers(1, 200)))
    assert (call.fault is None) == call.finished


def _json(value) -> bytes:
    return json.dumps(value).encode()
