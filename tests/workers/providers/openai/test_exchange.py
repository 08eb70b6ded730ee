"""The pass-through to OpenAI's own host, without a worker around it: what goes up, and what comes back."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Capabilities
from schemas.chat.request import COMPLETIONS
from schemas.money.pricing import TokenUsage, charge
from tests.fakes.openai import chunk, event, plain, stream, usage
from tests.fakes.worker import PRICE, job, model
from workers.answers.costs import filled
from workers.providers.base import Action
from workers.providers.faults import retry_after_s
from workers.providers.openai.errors import fault
from workers.providers.openai.exchange import OpenAIExchange
from workers.providers.openai.family import OpenAI

ACCOUNT = AccountSettings(id="a", base_url="https://api.openai.com/v1", api_key="sk-1")
ELSEWHERE = AccountSettings(id="a", base_url="http://up/v1", api_key="sk-1")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_categories=("Cs",)))
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc\u00e9\U0001f600", max_size=9), inner, max_size=4)
    ),
    max_leaves=25,
)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(
    lambda name: name not in {"model", "stream", "stream_options", "usage", "messages", "max_tokens"}
)


def exchange(body: bytes | dict[str, Any], **more: Any) -> OpenAIExchange:
    row = more.pop("row", model())
    made = OpenAI().open(job(body, **more), row, {})[0]
    assert isinstance(made, OpenAIExchange)
    return made


def sent(body: bytes | dict[str, Any], **more: Any) -> bytes:
    return exchange(body, **more).request(ACCOUNT).body


def raw(data: bytes) -> dict[str, bytes]:
    return {
        key: bytes(value) for key, value in msgspec.json.decode(data, type=dict[str, msgspec.Raw]).items()
    }


@given(st.dictionaries(names, values, max_size=6))
def test_unknown_fields_travel_byte_for_byte(fields: dict[str, Any]) -> None:
    """Every value but model and stream_options reaches the upstream as the caller's bytes; an absent tier is `default`."""
    body = json.dumps({"model": "m", "messages": [], **fields}, ensure_ascii=False).encode()
    before, after = raw(body), raw(sent(body))
    assert json.loads(after.pop("model")) == "up-m"
    before.pop("model")
    before.setdefault("service_tier", b'"default"')
    assert after == before
    assert list(after) == list(before)


@pytest.mark.parametrize(
    "value",
    [
        b"1.00",
        b"1e400",
        b"123456789012345678901234567890.000000000000000000001",
        b'{"a":1,"a":2}',
        b"[" * 200 + b"]" * 200,
        '{ "k" : "\u65e5\u672c" }'.encode(),
        rb'"\u0000\ud83d\ude00"',
    ],
)
def test_values_that_parsers_damage(value: bytes) -> None:
    """Numbers beyond floats, nested duplicate keys, depth, inner whitespace and escapes survive."""
    body = b'{"model":"m","messages":[],"x":' + value + b"}"
    assert raw(sent(body))["x"] == value


def test_stream_options_keep_their_other_keys() -> None:
    """include_usage is forced; whatever else stands there stays, and null counts as absent."""
    body = {
        "model": "m",
        "messages": [],
        "stream": True,
        "stream_options": {"include_obfuscation": False, "z": [1]},
    }
    assert json.loads(sent(body))["stream_options"] == {
        "include_obfuscation": False,
        "z": [1],
        "include_usage": True,
    }
    assert json.loads(sent(body | {"stream_options": None}))["stream_options"] == {"include_usage": True}


def test_private_keys_and_limits() -> None:
    """`usage` never goes up; the limit is written only when the job says so, under the row's own name."""
    body = {"model": "m", "messages": [], "usage": {"include": True}}
    assert set(json.loads(sent(body))) == {"model", "messages", "service_tier"}
    assert json.loads(sent(body, write_limit=True, limit=300))["max_tokens"] == 300
    newer = model(capabilities=Capabilities(limit_field="max_completion_tokens"))
    written = json.loads(sent(body, write_limit=True, limit=300, row=newer))
    assert written["max_completion_tokens"] == 300
    assert "max_tokens" not in written
    renamed = json.loads(sent(body | {"max_tokens": 50}, limit=50, row=newer))
    assert renamed["max_completion_tokens"] == 50
    assert "max_tokens" not in renamed


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 5_000},
        {"max_completion_tokens": 5_000},
        {"max_tokens": 50, "max_completion_tokens": 5_000},
        {"max_tokens": 5_000, "max_completion_tokens": 50},
        {"max_tokens": None, "max_completion_tokens": 5_000},
    ],
)
def test_the_granted_limit_is_the_only_one_sent(name: str, asked: dict[str, Any]) -> None:
    """A limit that is written takes the place of whatever the caller wrote, under either name."""
    row = model(capabilities=Capabilities(limit_field=name))
    written = json.loads(sent({"model": "m", "messages": [], **asked}, write_limit=True, limit=100, row=row))
    assert {key: value for key, value in written.items() if "tokens" in key} == {name: 100}


def test_a_row_that_needs_a_limit_sends_it_under_its_own_name() -> None:
    """A server that may know no other name gets the caller's limit under the row's; its own name stays as it is."""
    row = model(capabilities=Capabilities(needs_limit=True))
    body = {"model": "m", "messages": []}
    for asked in ({}, {"max_completion_tokens": 50}):
        got = json.loads(sent(body | asked, limit=50, row=row))
        assert {key: value for key, value in got.items() if "tokens" in key} == {"max_tokens": 50}
    both = {"max_tokens": 20, "max_completion_tokens": 50}
    assert {**body, **both, "model": "up-m", "service_tier": "default"} == json.loads(
        sent(body | both, limit=50, row=row)
    )


def test_credentials_in_headers_only() -> None:
    """Key, organization and project travel as headers; the path has the route's name."""
    account = AccountSettings(id="a", api_key="sk-1", organization="org-1", project="proj-1")
    request = exchange({"model": "m", "messages": []}).request(account)
    assert request.url == "https://api.openai.com/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer sk-1"
    assert (request.headers["OpenAI-Organization"], request.headers["OpenAI-Project"]) == ("org-1", "proj-1")
    row = model(capabilities=Capabilities(completions=True))
    legacy = exchange({"model": "m", "prompt": "x"}, dialect=COMPLETIONS, limit=16, row=row).request(
        ELSEWHERE
    )
    assert legacy.url == "http://up/v1/completions"
    assert json.loads(legacy.body)["max_tokens"] == 16


def run(pieces: list[bytes], **more: Any) -> tuple[bytes, OpenAIExchange]:
    body = {"model": "m", "messages": [], "stream": True} | more.pop("body", {})
    made = exchange(body, **more)
    made.request(ACCOUNT)
    out = b"".join(made.feed(piece) for piece in pieces)
    return out + made.close(), made


WORDS = ["caf\u00e9 ", "\u65e5\u672c\u8a9e ", "\U0001f600\U0001f469\u200d\U0001f680 "]
WHOLE = b"".join(
    piece for piece in stream(WORDS, usage(9, 3, cached=4, reasoning=1)) if isinstance(piece, bytes)
)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_one_byte_at_a_time_equals_whole(asked: bool, ends: bytes) -> None:
    """However the network cuts a stream, in whichever line ends, the caller's bytes are the same and intact."""
    data = WHOLE.replace(b"\n", ends)
    body = {"stream_options": {"include_usage": True}} if asked else {}
    whole, _ = run([WHOLE], body=body)
    bytewise, made = run([data[at : at + 1] for at in range(len(data))], body=body)
    assert bytewise == whole
    assert made.finished
    events = [json.loads(item[6:]) for item in whole.decode().split("\n\n") if item]
    assert "".join(
        item["choices"][0]["delta"].get("content") or "" for item in events if item["choices"]
    ) == "".join(WORDS)
    assert made.usage == TokenUsage(input=5, cached=4, output=2, reasoning=1)
    assert made.output_bytes == len("".join(WORDS).encode())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=400))
def test_any_cut(sizes: list[int]) -> None:
    """Cuts of any sizes give the same bytes."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(WHOLE[at : at + size])
        at += size
    assert run([*pieces, WHOLE[at:]])[0] == run([WHOLE])[0]


def test_every_cut_is_a_fault() -> None:
    """A stream that ends anywhere before `[DONE]` is a fault, never a clean end."""
    events = [piece for piece in stream(WORDS, usage(9, 3)) if isinstance(piece, bytes)]
    for count in range(len(events)):
        _, made = run(events[:count])
        assert made.fault is not None
        assert not made.finished
    _, made = run([*events[:-1], b"data: [DONE]"])
    assert made.finished


@pytest.mark.parametrize(
    "bad",
    [b"{", b"nonsense", b"[1]", b'"x"', b'{"a":"\xff"}', b'{"choices":[{"delta":{"content":"\xe6\x97"}}]}'],
)
def test_nonsense_is_a_fault(bad: bytes) -> None:
    """An event that is not a JSON object in UTF-8 ends the stream; what came before it was passed on."""
    first = event(chunk({"content": "hi"}))
    out, made = run([first, b"data: " + bad + b"\n\n"])
    assert b"hi" in out
    assert made.fault is not None
    assert not made.fault.unbilled


@pytest.mark.parametrize(
    "choices", [{}, {"choices": []}, {"choices": [{"index": 0, "delta": {"content": "x"}}]}]
)
def test_error_event_comes_before_choices(choices: dict[str, Any]) -> None:
    """An error object counts whatever stands beside it; before any content it costs nothing, after it, it may."""
    failing = event(
        {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}} | choices
    )
    out, made = run([failing])
    assert out == b""
    assert made.fault is not None
    assert (made.fault.error.status, made.fault.action, made.fault.unbilled) == (429, Action.COOL, True)
    _, made = run([event(chunk({"content": "hi"})), failing])
    assert made.fault is not None
    assert not made.fault.unbilled


def test_usage_beside_choices_becomes_its_own_chunk() -> None:
    """Servers that put usage into a chunk with choices, or into all: callers who asked get one last chunk with none."""
    events = [
        event(chunk({"content": "a"}, usage=usage(3, 1))),
        event(chunk({}, finish="stop", usage=usage(3, 2))),
    ]
    out, made = run([*events, event("[DONE]")], body={"stream_options": {"include_usage": True}})
    seen = [json.loads(item[6:]) for item in out.decode().split("\n\n") if item]
    assert [item["usage"] and item["usage"]["completion_tokens"] for item in seen] == [None, None, 2]
    assert seen[-1]["choices"] == []
    assert made.usage == TokenUsage(input=3, output=2)
    out, _ = run([*events, event("[DONE]")])
    assert b"usage" not in out


def test_usage_chunk_without_choices_key() -> None:
    """A usage chunk that lacks `choices` gets an empty list."""
    out, _ = run(
        [event({"id": "x", "model": "up", "usage": usage(1, 1)}), event("[DONE]")],
        body={"stream_options": {"include_usage": True}},
    )
    assert json.loads(out[6:])["choices"] == []


def test_unknown_response_fields_survive() -> None:
    """Fields we do not know come back as they were, plain and streamed; only the model's name changes."""
    odd = b'{"id":"x","choices":[{"message":{"content":"a","odd":1.000}}],"model":"up","z":{ "k":1e3 ,"k":2}}'
    made = exchange({"model": "m", "messages": []})
    assert made.answer(odd) == odd.replace(b'"up"', b'"m"')
    out, _ = run([b"data: " + odd + b"\n\n", event("[DONE]")])
    assert out == b"data: " + odd.replace(b'"up"', b'"m"') + b"\n\n"


def test_data_in_several_lines_stays_an_event() -> None:
    """JSON that came in lines goes to the caller in one: a line without a name is lost to every client."""
    told = chunk({"content": "hi"})
    lines = json.dumps(told, indent=1).encode().split(b"\n")
    out, _ = run([b"".join(b"data: " + line + b"\n" for line in lines) + b"\n", event("[DONE]")])
    (line,) = out.splitlines()[:-1]
    assert json.loads(line.removeprefix(b"data: "))["choices"] == told["choices"]


def test_cost_is_what_is_billed() -> None:
    """`cost` is an exact number of dollars: the charge for the reported usage at the call's rate, once it is known."""
    made = exchange({"model": "m", "messages": []}, include_cost=True)
    nano = charge(TokenUsage(input=1_000, output=10), PRICE, Decimal("0.60"))
    out = filled(made.answer(plain("hi", usage(1_000, 10))), nano)
    body = json.loads(out, parse_float=Decimal)
    assert body["usage"]["cost"] * 10**9 == nano
    assert isinstance(body["usage"]["cost"], Decimal)


@pytest.mark.parametrize(
    "bad",
    [
        *(usage(-1, 5), usage(2**50, 1), {"prompt_tokens": "7"}, {"prompt_tokens": 1.5}, {}, [], "x"),
        *({"prompt_tokens": 7}, {"completion_tokens": 7}, {"prompt_tokens": 7, "total_tokens": 5}),
    ],
)
def test_nonsense_usage_is_no_usage(bad: Any) -> None:
    """Negative, absurd or ill-typed figures are not believed: the call will be estimated."""
    made = exchange({"model": "m", "messages": []})
    made.answer(plain("hello", None, usage=bad))
    assert made.usage is None
    assert made.output_bytes == 5


def test_an_output_of_none_may_be_left_out() -> None:
    """A legacy completion without output is told by its total alone."""
    made = exchange({"model": "m", "messages": []})
    made.answer(plain("", None, usage={"prompt_tokens": 7, "total_tokens": 7}))
    assert made.usage == TokenUsage(input=7)


def test_parts_never_exceed_their_totals() -> None:
    """Details above their totals are cut to them, so that prompt + completion is the total."""
    made = exchange({"model": "m", "messages": []})
    made.answer(plain("x", usage(5, 2, cached=50, reasoning=9)))
    assert made.usage == TokenUsage(cached=5, reasoning=2)


def test_tool_arguments_and_reasoning_count() -> None:
    """Estimates see content, refusals, reasoning and the arguments of every kind of call."""
    delta = {
        "content": "ab",
        "reasoning_content": "\u00e9",
        "tool_calls": [
            {"index": 0, "function": {"arguments": "xyz"}},
            {"index": 1, "custom": {"input": "q"}},
        ],
    }
    assert run([event(chunk(delta))])[1].output_bytes == 2 + 2 + 3 + 1


@pytest.mark.parametrize(
    ("status", "code", "seen", "action"),
    [
        (400, "context_length_exceeded", 400, Action.STOP),
        (401, "invalid_api_key", 502, Action.REFUSED),
        (403, None, 502, Action.DENIED),
        (404, "model_not_found", 404, Action.GONE),
        (404, None, 502, Action.NEXT),
        (413, None, 413, Action.STOP),
        (429, "rate_limit_exceeded", 429, Action.COOL),
        (429, "insufficient_quota", 429, Action.SPENT),
        (500, None, 502, Action.NEXT),
        (503, None, 503, Action.NEXT),
        (504, None, 504, Action.NEXT),
        (302, None, 502, Action.NEXT),
    ],
)
def test_errors(status: int, code: str | None, seen: int, action: Action) -> None:
    """Each status has its meaning; our own credentials' trouble never looks like the caller's."""
    body = json.dumps({"error": {"message": "because", "type": "t", "param": "p", "code": code}}).encode()
    found = fault(status, {}, body)
    assert (found.error.status, found.action, found.unbilled) == (seen, action, True)
    if action is Action.STOP:
        assert (found.error.message, found.error.param, found.error.code) == ("because", "p", code)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error":"text"}', b'{"error":{"message":5}}', b"\xff"]
)
def test_error_bodies_of_any_kind(body: bytes) -> None:
    """A body that is no error object still gives a well-formed error."""
    for status in (400, 404, 429, 500):
        assert fault(status, {}, body).error.message


def test_messages_are_scrubbed() -> None:
    """Keys, organisations, projects, ARNs and URLs of ours never reach a caller."""
    secret = "sk-proj-abcdef123456 org-abcdefghij12 proj_abcdefgh99 arn:aws:bedrock:us-east-1:123456789012:x https://a/b"
    found = fault(400, {}, json.dumps({"error": {"message": f"bad {secret}"}}).encode())
    for word in secret.split():
        assert word not in found.error.message


def test_retry_after() -> None:
    """Milliseconds, seconds and dates are understood; nonsense is not a time, and nothing waits for hours."""
    assert retry_after_s({"retry-after-ms": "1500"}) == 1.5
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after_s({"retry-after": "99999"}) == 300.0
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "nan"}) is None
    assert retry_after_s({}) is None
