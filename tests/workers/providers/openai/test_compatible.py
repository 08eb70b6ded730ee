"""Answers of compatible servers: each mended, however the network cuts it, and what is right already left alone."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Capabilities
from schemas.chat.request import COMPLETIONS
from tests.fakes.compatible import CASES, JSON, Case, sse
from tests.fakes.openai import chunk, event, stream, usage
from tests.fakes.worker import job, model
from workers.providers.openai.exchange import OpenAIExchange
from workers.providers.openai.family import OpenAI

OWN = AccountSettings(id="own", base_url="https://api.openai.com/v1", api_key="k")
OTHER = AccountSettings(id="other", base_url="http://up/v1", api_key="k")
ASKED = {"model": "m", "messages": []}
SERVED = [case for case in CASES if case.sent == 200]  # what has another status is no answer
STREAMS = [case for case in SERVED if case.stream]


def named(cases: list[Case]) -> Any:
    """A parameter for each."""
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def opened(
    case: Case, *, asked: bool = True, account: AccountSettings = OTHER, **more: Any
) -> OpenAIExchange:
    """The exchange of a call that this case answers."""
    body = ASKED | case.ask | {"stream": case.stream}
    if asked and case.stream:
        body["stream_options"] = {"include_usage": True}
    call = job(body, request_id="req_1", choices=case.ask.get("n", 1), **more)
    made = OpenAI().open(call, model(), {})[0]
    assert isinstance(made, OpenAIExchange)
    made.request(account)
    return made


def raw_of(case: Case) -> bytes:
    """What the exchange is fed: the transport unpacks."""
    return gzip.decompress(case.raw) if case.encoding == "gzip" else case.raw


def fed(made: OpenAIExchange, pieces: list[bytes]) -> bytes:
    """What a caller gets of a stream in these pieces."""
    out = b"".join(made.feed(piece) for piece in pieces)
    return out + made.close()


def chunks_of(out: bytes) -> list[dict[str, Any]]:
    """The caller's chunks, each on a line of its own."""
    assert b"\r" not in out
    return [json.loads(one.removeprefix(b"data: ")) for one in out.split(b"\n") if one]


def check_end(case: Case, made: OpenAIExchange) -> None:
    """Complete with its usage, or failed with its status."""
    if case.fails:
        assert made.fault is not None
        assert not made.finished
        if case.begun:
            assert made.fault.error.status >= 400
        else:
            assert made.fault.error.status == case.status
            assert made.fault.unbilled or case.name.startswith("no-choices")
        return
    assert made.fault is None, made.fault
    assert made.finished
    assert made.usage == case.usage


def check_chunks(case: Case, chunks: list[dict[str, Any]], *, asked: bool) -> None:
    """What every stream of chunks must be, whatever came."""
    assert len({(one["id"], one["object"], one["created"]) for one in chunks}) <= 1
    for one in chunks:
        assert isinstance(one["created"], int)
        assert one["id"]
        assert one["object"] == "chat.completion.chunk"
        assert one["model"] == "m"
        assert ("usage" in one) == asked
        check_money(one)
    with_usage = [at for at, one in enumerate(chunks) if one.get("usage")]
    if asked and case.usage is not None and not case.fails:
        assert with_usage == [len(chunks) - 1]
        assert chunks[-1]["choices"] == []
        shown(chunks[-1]["usage"])
    assert all(one["choices"] for one in chunks if not one.get("usage"))
    if not asked:
        assert not with_usage


def check_money(told: dict[str, Any]) -> None:
    """No server's own figures of what a call costs, at any depth."""
    text = json.dumps(told).lower()
    assert not any(word in text for word in ("cost", "byok", "x_groq", "pricing"))
    assert all("usage" not in choice for choice in told["choices"])


def shown(told: dict[str, Any]) -> None:
    """Usage as a caller may see it: whole numbers that agree, and no money."""
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    text = json.dumps(told)
    assert "cost" not in text
    assert "byok" not in text
    json.loads(text, parse_float=lambda number: pytest.fail(f"a float: {number}"))


def check_answer(case: Case, answer: ChatCompletion) -> None:
    """Text, finish reason and calls."""
    choice = answer.choices[0]
    assert (choice.message.content or "", choice.finish_reason) == (case.text, case.finish)
    calls = choice.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        call[1:] for call in case.calls
    ]
    assert all(
        call.id == wanted[0] if wanted[0] else call.id for call, wanted in zip(calls, case.calls, strict=True)
    )
    assert len({call.id for call in calls}) == len(calls)


@named(STREAMS)
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "unasked"])
def test_streams_are_as_openai_would_send_them(case: Case, asked: bool) -> None:
    """One id, usage once and only for who asked, calls counted from 0: OpenAI's SDK reads what was meant."""
    made = opened(case, asked=asked)
    chunks = chunks_of(fed(made, [raw_of(case)]))
    check_end(case, made)
    check_chunks(case, chunks, asked=asked)
    if case.fails:
        assert bool(chunks) == case.begun
        return
    state = ChatCompletionStreamState()
    for one in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    check_answer(case, ChatCompletion.model_validate(state.current_completion_snapshot.model_dump()))


@named(STREAMS)
def test_every_cut_gives_the_same(case: Case) -> None:
    """Cut at every byte, and in two at many, a stream gives the bytes and the end that it gives whole."""
    data = raw_of(case)
    first = opened(case)
    whole = fed(first, [data])
    wanted = (first.finished, first.usage, first.output_bytes, first.fault and first.fault.error)
    cuts = [[data[at : at + 1] for at in range(len(data))]]
    cuts += [[data[:at], data[at:]] for at in range(1 + len(case.name) % 13, len(data), 13)]
    for pieces in cuts:
        made = opened(case)
        out = fed(made, pieces)
        assert _undated(out) == _undated(whole)
        assert (made.finished, made.usage, made.output_bytes, made.fault and made.fault.error) == wanted


def _undated(out: bytes) -> list[dict[str, Any]]:
    # A server that says no time gets that of the moment.
    return [one | {"created": 0} for one in chunks_of(out)]


@named([case for case in STREAMS if case.whole and not case.fails])
def test_every_loss_is_a_fault(case: Case) -> None:
    """Whatever of a stream is missing before the last finish reason, its end is a fault, never a clean one."""
    data = raw_of(case)
    last = data.rfind(b'"finish_reason":"')
    for at in range(0, last, 17):
        made = opened(case)
        fed(made, [data[:at]])
        assert made.fault is not None
        assert not made.finished


def test_only_the_servers_own_figures_are_taken_out() -> None:
    """What the answer says of costs is the caller's, in a text, in a call's arguments, in what was searched for."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"cost": 1}'}}
    cited = [{"type": "product", "price": 1.50, "cost": "low"}]
    said = {"content": 'say "cost": 1', "tool_calls": [call], "annotations": cited}
    added = {"items": [{"price": 2, "cost": 3}], "n": 1.5}
    raw = {"choices": [{"index": 0, "message": said | {"x": added}, "finish_reason": "stop"}], "y": added}
    out = json.loads(opened(Case("", b"", stream=False)).answer(json.dumps(raw).encode()))
    message = out["choices"][0]["message"]
    assert {name: message[name] for name in said} == said
    assert message["x"] == out["y"] == {"items": [{"price": 2}], "n": 1.5}


@named([case for case in SERVED if not case.stream])
def test_plain_answers_are_as_openai_would_send_them(case: Case) -> None:
    """The SDK's own type, with usage that agrees and without money; or an error with its status."""
    made = opened(case)
    out = made.answer(raw_of(case))
    check_end(case, made)
    if case.fails:
        assert out == b""
        return
    body = json.loads(out)
    assert body["object"] == "chat.completion"
    check_money(body)
    if case.usage is not None:
        shown(body["usage"])
    else:
        assert "usage" not in body
    check_answer(case, ChatCompletion.model_validate(body))


WORDS = ["caf\u00e9 ", "\u65e5\u672c\u8a9e ", "\U0001f600"]
LIST = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
SOUND = {
    "text": stream(WORDS, usage(9, 3, cached=4, reasoning=1)),
    "calls": [
        event(chunk({"role": "assistant", "content": None, "tool_calls": [LIST]}, usage=None)),
        event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}, usage=None)),
        event(chunk({}, finish="tool_calls", usage=None)),
        event(chunk({}, usage=usage(9, 3)) | {"choices": []}),
        event("[DONE]"),
    ],
    "odd-fields": [
        event(chunk({"role": "assistant", "content": "x"}, provider="P", nested={"k": [1.50, 1e300]})),
        event(chunk({"content": "y", "annotations": [{"z": 1.0}]}, system_fingerprint="fp")),
        event(chunk({}, finish="stop", service_tier="flex")),
        event("[DONE]"),
    ],
    "reasoning": [
        event(chunk({"role": "assistant", "reasoning_content": "hm", "content": ""})),
        event(chunk({"reasoning": "hm", "reasoning_details": [{"type": "text", "text": "hm"}]})),
        event(chunk({"content": "y"})),
        event(chunk({}, finish="length")),
        event("[DONE]"),
    ],
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "unasked"])
def test_what_keeps_the_contract_is_left_alone(name: str, asked: bool) -> None:
    """A sound stream gives a caller the bytes that it would give from OpenAI's own host."""
    pieces = [piece for piece in SOUND[name] if isinstance(piece, bytes)]
    case = Case(name, b"".join(pieces))
    own, other = opened(case, asked=asked, account=OWN), opened(case, asked=asked)
    assert fed(other, pieces) == fed(own, pieces)
    assert (other.usage, other.output_bytes, other.uplifts) == (own.usage, own.output_bytes, own.uplifts)
    assert own.finished
    assert other.finished


@given(st.lists(st.integers(1, 60), max_size=40), st.lists(st.text(max_size=6), max_size=6))
def test_any_words_in_any_cut(sizes: list[int], words: list[str]) -> None:
    """A sound stream of any words gives the same bytes from both hosts, however it is cut."""
    pieces = [piece for piece in stream(words, usage(3, 2)) if isinstance(piece, bytes)]
    data, at, cut = b"".join(pieces), 0, []
    for size in sizes:
        cut.append(data[at : at + size])
        at += size
    case = Case("words", data)
    own, other = opened(case, account=OWN), opened(case)
    assert fed(other, [*cut, data[at:]]) == fed(own, [data])
    assert other.finished


@given(st.binary(max_size=300))
def test_any_bytes_are_a_fault(data: bytes) -> None:
    """Random bytes end in a fault, streamed or plain, and never raise."""
    for streamed in (True, False):
        made = opened(Case("noise", b"", stream=streamed, content_type=JSON))
        fed(made, [data]) if streamed else made.answer(data)
        assert made.fault is not None
        assert not made.finished


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_named = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "object",
            "created",
            "choices",
            "usage",
            "error",
            "base_resp",
            "x_groq",
            "message",
            "code",
            "type",
        ]
    ),
    _values,
    max_size=5,
)
_choices = st.dictionaries(
    st.sampled_from(["index", "delta", "message", "finish_reason", "error", "usage", "text", "logprobs"]),
    _values,
)
_deltas = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "function_call", "refusal"]), _values, max_size=4
)


@given(_named, st.lists(_choices, max_size=3), _deltas, st.booleans())
def test_any_object_is_a_chunk_or_a_fault(
    fields: dict[str, Any], choices: list[dict[str, Any]], delta: dict[str, Any], legacy: bool
) -> None:
    """Whatever stands in which field, an exchange says a well-formed chunk, nothing, or a fault: it never raises."""
    fields = fields | {"choices": [*choices, {"index": 0, "delta": delta}]}
    row = model(capabilities=Capabilities(completions=True))
    for streamed in (True, False):
        body = {"model": "m", "messages": [], "prompt": "x", "stream": streamed}
        more = {"dialect": COMPLETIONS, "limit": 16} if legacy else {}
        made = OpenAI().open(job(body, **more), row, {})[0]
        made.request(OTHER)
        if streamed:
            out = b"".join((made.feed(event(fields)), made.feed(sse(fields)), made.close()))
            for one in chunks_of(out):
                assert one["model"] == "m"
                assert isinstance(one["choices"], list)
        else:
            out = made.answer(json.dumps(fields).encode())
            assert bool(out) == (made.fault is None)


def test_a_sound_plain_answer_is_left_alone() -> None:
    """A plain answer that keeps the contract goes on byte for byte from either host, white space and all."""
    said = b'{"index": 0, "message": {"role": "assistant", "content": "hi", "odd": 1.50}, "finish_reason": "stop"}'
    told = b'{"prompt_tokens": 3, "completion_tokens": 2,\n "total_tokens": 5}'
    data = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[ %b ],"usage":%b,"z":[1.0 ]}'
    data %= (said, told)
    for account in (OWN, OTHER):
        made = opened(Case("sound", b"", stream=False), account=account)
        assert made.answer(data) == data
        assert made.finished


def test_legacy_completions_are_mended_too() -> None:
    """/v1/completions of a compatible server: envelope, empty finish reasons, usage and ends as in chat."""
    pieces = [
        event({"choices": [{"text": "hi", "finish_reason": ""}], "usage": {"prompt_tokens": 3.0}}),
        event({"choices": [{"text": "", "finish_reason": "eos"}], "usage": usage(3, 2) | {"cost": 1}}),
    ]
    row = model(capabilities=Capabilities(completions=True))
    body = {"model": "m", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    made = OpenAI().open(job(body, dialect=COMPLETIONS, limit=16), row, {})[0]
    made.request(OTHER)
    chunks = chunks_of(b"".join(made.feed(piece) for piece in pieces) + made.close())
    assert made.finished
    assert {one["object"] for one in chunks} == {"text_completion"}
    assert [choice["finish_reason"] for one in chunks for choice in one["choices"]] == [None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
