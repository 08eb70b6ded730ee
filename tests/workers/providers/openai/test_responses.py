"""Responses at an upstream that speaks them itself: what goes up is cleaned, what comes down passes on and is counted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities, Model
from schemas.dialects.responses import DIALECT
from schemas.money.pricing import TokenUsage
from schemas.responses.marks import Marks, bytes_max, is_true, unmarked
from schemas.responses.request import RESPONSES
from tests.workers.providers.anthropic.cases import job
from workers.providers.base import Action
from workers.providers.openai.family import OpenAI
from workers.providers.openai.responses.exchange import ResponsesExchange

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "responses"
ACCOUNT = AccountSettings(id="main", api_key="sk-1", organization="org-1", project="proj_1")
ELSEWHERE = AccountSettings(id="other", api_key="sk-1", base_url="http://127.0.0.1:9/v1")
MODEL = Model(
    id="M",
    pool="p",
    provider="openai",
    upstream="gpt-6.1",
    context=100_000,
    max_output=500,
    capabilities=Capabilities(responses=True),
)
USER = {"role": "user", "content": "hi"}
BLOB = "gAAAAABo"
KEEPS: dict[str, Any] = {"keeps": True, "scope": "scope-1"}
MARK = rb"_[ks][0-9a-f]{31}(?=\")"


def made(asked: dict[str, Any], **fields: Any) -> Job:
    """A job for a body, whose granted limit is 500."""
    body = {"model": "M", "input": "hi", **asked}
    known = {"dialect": RESPONSES, "stream": bool(asked.get("stream")), "limit": 500, "upstream": "gpt-6.1"}
    return job(body, **known | {"body": json.dumps(body).encode(), "request_id": "req_1"} | fields)


def exchange(asked: dict[str, Any] | None = None, **fields: Any) -> ResponsesExchange:
    """The exchange of a call, its request already made."""
    (one,) = OpenAI().open(made(asked or {}, **fields), MODEL, {})
    assert isinstance(one, ResponsesExchange)
    one.request(ACCOUNT)
    return one


def sent(account: AccountSettings = ACCOUNT, /, **asked: Any) -> dict[str, Any]:
    """The body that goes up."""
    (one,) = OpenAI().open(made(asked), MODEL, {})
    return dict(json.loads(one.request(account).body))


def test_a_request_in_full() -> None:
    """Path, credentials, and a body that stores nothing, at the default tier, under the upstream's id."""
    (one,) = OpenAI().open(made({"store": True}), MODEL, {})
    request = one.request(ACCOUNT)
    assert request.url == "https://api.openai.com/v1/responses"
    assert request.headers["Authorization"] == "Bearer sk-1"
    assert (request.headers["OpenAI-Organization"], request.headers["OpenAI-Project"]) == ("org-1", "proj_1")
    assert json.loads(request.body) == {
        "model": "gpt-6.1",
        "input": "hi",
        "store": False,
        "service_tier": "default",
    }
    assert "service_tier" not in sent(ELSEWHERE)
    assert sent(service_tier="flex")["service_tier"] == "flex"


def test_only_fields_that_are_known_go_up() -> None:
    """Nothing of the caller's machine, nothing that nobody here can price, and no null."""
    kept = {"instructions": "x", "text": {"verbosity": "low"}, "reasoning": {"effort": "low"}, "include": []}
    lost = {
        "client_metadata": {"a": "b"},
        "context_management": [],
        "max_tool_calls": 3,
        "n": 5,
        "x": 1,
        "usage": {},
    }
    body = sent(**kept, **lost, temperature=None)
    assert {name: body[name] for name in kept} == kept
    assert not set(lost) & set(body)
    assert "temperature" not in body


@pytest.mark.parametrize(
    ("asked", "write_limit", "wanted"),
    [
        (None, False, None),
        (None, True, 500),
        (5, False, 16),
        (16, False, 16),
        (90, False, 90),
        (900, True, 500),
    ],
)
def test_limits(asked: int | None, write_limit: bool, wanted: int | None) -> None:
    """The caller's own, or what was granted; never less than the upstream takes."""
    body = {} if asked is None else {"max_output_tokens": asked}
    (one,) = OpenAI().open(made(body, write_limit=write_limit), MODEL, {})
    assert json.loads(one.request(ACCOUNT).body).get("max_output_tokens") == wanted


def test_tools_that_run_at_the_caller_alone() -> None:
    """Hosted ones are taken out wherever they stand; with the last of them every word on tools."""
    f = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    space = {"type": "namespace", "name": "n", "tools": [f, {"type": "mcp", "server_url": "x"}]}
    tools = [f, {"type": "web_search"}, {"type": "custom", "name": "c"}, {"type": "apply_patch"}, space]
    body = sent(tools=tools, tool_choice="auto", parallel_tool_calls=False)
    assert body["tools"] == [f, tools[2], tools[3], space | {"tools": [f]}]
    assert body["parallel_tool_calls"] is False
    bare = sent(tools=[{"type": "web_search"}], tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(bare)
    more = {"type": "additional_tools", "role": "developer", "tools": [f, {"type": "file_search"}]}
    assert sent(input=[USER, more])["input"][1]["tools"] == [f]


@pytest.mark.parametrize(
    "where",
    [{"type": "container_auto"}, {"type": "container_reference", "container_id": "c"}, {}, [], "local", 5],
)
def test_a_shell_runs_at_the_caller_or_not_at_all(where: Any) -> None:
    """One in a container is a hosted tool, wherever it stands; so are its calls and their outputs in a history."""
    own = [
        {"type": "shell"},
        {"type": "shell", "environment": None},
        {"type": "shell", "environment": {"type": "local"}},
    ]
    given = [*own, {"type": "shell", "environment": where}]
    more = {"type": "additional_tools", "role": "developer", "tools": given}
    space = {"type": "namespace", "name": "n", "tools": given}
    call = {"type": "shell_call", "id": "sh_1", "call_id": "a", "action": {"commands": ["ls"]}}
    out = {"type": "shell_call_output", "call_id": "a", "output": [{"stdout": "x"}]}
    body = sent(tools=[*given, space], input=[USER, more, call | {"environment": where}, out])
    assert body["tools"] == [*own, space | {"tools": own}]
    assert body["input"] == [USER, more | {"tools": own}]
    assert sent(input=[USER, call, out])["input"] == [USER, call, out]
    fields = DIALECT.decode(json.dumps({"model": "M", "input": "hi", "tools": given}).encode())
    assert DIALECT.read(fields).dropped == ("tools[3]:shell",)


def test_a_history_is_cleaned() -> None:
    """Ids of another kind go, reasoning stays whole or goes whole, what a provider ran by itself goes."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": BLOB}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": "x", "phase": "commentary"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "ok"}
    items = [
        USER,
        reasoning,
        reasoning,
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"type": "reasoning", "id": "rs_3", "encrypted_content": "tokn1.abc"},
        {"type": "reasoning", "id": "rs_4", "encrypted_content": "c2ln"},
        {"type": "item_reference", "id": "rs_9"},
        message,
        {**message, "id": "item-7"},
        call,
        {**call, "id": "call_c", "call_id": "d"},
        {**output, "id": "fco_1"},
        {**output, "call_id": "d"},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "agent_message", "content": "Do it."},
    ]
    assert sent(input=items)["input"] == [
        USER,
        reasoning,
        message,
        {name: value for name, value in message.items() if name != "id"},
        call,
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        output,
        {**output, "call_id": "d"},
        {"role": "user", "content": "Do it."},
    ]
    assert {"id": "rs_4"}.items() <= sent(ELSEWHERE, input=items)["input"][2].items()


def test_reasoning_that_the_upstream_cannot_verify_is_left_out_once() -> None:
    """Its 400 gets the same call without any reasoning; a second one, or another 400, gets none."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": BLOB}
    refusal = b'{"error":{"code":"invalid_encrypted_content","message":"x"}}'
    one = exchange({"input": [USER, reasoning]})
    assert one.without(400, b'{"error":{"code":"other"}}') is None
    again = one.without(400, refusal)
    assert again is not None
    assert json.loads(again.body)["input"] == [USER]
    assert one.without(400, refusal) is None
    assert exchange().without(400, refusal) is None


@pytest.mark.parametrize("name", ["r1-text", "r2-two-calls", "r3-reasoning", "r4-length", "r7-custom"])
@pytest.mark.parametrize("cut", [1, 7, 10_000_000])
def test_streams_pass_under_the_callers_names(name: str, cut: int) -> None:
    """Every event as it came but for the response's id and model, however the bytes are cut; usage is read."""
    raw = (FIXTURES / f"{name}.sse").read_bytes().replace(b'"resp_1"', b'"resp_up"').replace(b'"M"', b'"up"')
    one = exchange({"stream": True})
    out = b"".join(one.feed(raw[at : at + cut]) for at in range(0, len(raw), cut)) + one.close()
    assert out == (FIXTURES / f"{name}.sse").read_bytes()
    assert one.finished
    assert one.fault is None
    used = json.loads((FIXTURES / f"{name}.json").read_text())["usage"]
    assert one.usage is not None
    assert (one.usage.prompt, one.usage.completion) == (used["input_tokens"], used["output_tokens"])
    assert one.usage.reasoning == used["output_tokens_details"]["reasoning_tokens"]
    assert one.output_bytes > 0


@pytest.mark.parametrize("name", ["r1-text", "r2-two-calls", "r3-reasoning", "r7-custom"])
def test_kept_items_have_one_marked_id_each(name: str) -> None:
    """In every event and at the end; without the marks the stream is what it was, and so is a plain answer."""
    raw = (FIXTURES / f"{name}.sse").read_bytes()
    body = json.dumps(json.loads((FIXTURES / f"{name}.json").read_bytes()), separators=(",", ":")).encode()
    streamed, plain = exchange({"stream": True}, **KEEPS), exchange({}, **KEEPS)
    out, said = streamed.feed(raw), json.loads(plain.answer(body))
    assert re.sub(MARK, b"", out) == raw
    ids = set(re.findall(rb'"(?:id|item_id)":"((?:msg|fc|rs|ctc)_[^"]*)"', out))
    assert len(ids) == len(said["output"])
    assert all(is_true("scope-1", one.decode()) for one in ids)
    for item in said["output"]:
        assert len(json.dumps(item, separators=(",", ":"), ensure_ascii=False)) == bytes_max([item["id"]])
        item["id"] = unmarked(item["id"])
    assert said == json.loads(body)


def test_words_that_look_like_an_id_stay_words() -> None:
    """A model may say the very id of its item."""
    raw = (FIXTURES / "r1-text.sse").read_bytes().replace(b'"delta":"Hel"', b'"delta":"msg_0"')
    assert b'"delta":"msg_0"' in exchange({"stream": True}, **KEEPS).feed(raw)


def test_marks_come_off_on_the_way_back() -> None:
    """An upstream gets its own ids, of reasoning above all: what is encrypted in it is bound to its id."""
    marks = Marks("scope-1", "req_1", 9)
    own = [
        {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": BLOB},
        {"type": "message", "id": "msg_up", "role": "assistant", "content": "x"},
        {"type": "function_call", "id": "fc_up", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    told = [item | {"id": marks.loose(item["id"])} for item in own]
    assert sent(input=[USER, *told, *told[:1]])["input"] == [USER, *own]


def test_usage_in_its_classes() -> None:
    """What was cached and written to a cache are parts of the input."""
    one = exchange({"stream": True})
    one.feed((FIXTURES / "r1-text.sse").read_bytes())
    assert one.usage == TokenUsage(input=10, cached=100, cache_write=5, output=2)


@pytest.mark.parametrize("name", ["r1-text", "r4-length"])
def test_plain_answers(name: str) -> None:
    """The response under the caller's names; completed and incomplete are both answers, and both are billed."""
    body = json.loads((FIXTURES / f"{name}.json").read_text())
    one = exchange()
    assert json.loads(one.answer(json.dumps(body | {"id": "resp_up", "model": "up"}).encode())) == body
    assert one.usage is not None
    assert one.finished


@pytest.mark.parametrize("name", ["r5-error", "r5-failed"])
def test_failures_in_a_stream(name: str) -> None:
    """Either event ends the call with a fault; what came before it passes on, and the edge tells the rest."""
    raw = (FIXTURES / f"{name}.sse").read_bytes()
    one = exchange({"stream": True})
    out = one.feed(raw)
    assert out.endswith(raw.partition(b"output_text.delta\n")[2].partition(b"\n\n")[0] + b"\n\n")
    assert one.fault is not None
    assert one.fault.error.status >= 500
    assert not one.fault.unbilled
    assert not one.finished


def test_a_failure_at_once_can_be_tried_elsewhere() -> None:
    """The head waits: nothing has been sent when the first event behind it is a failure, and nothing is billed."""
    whole = (FIXTURES / "r5-failed.sse").read_bytes().split(b"\n\n")
    error = {
        "type": "error",
        "code": "rate_limit_exceeded",
        "message": "Slow.",
        "param": None,
        "sequence_number": 2,
    }
    for last in (whole[-2], b"data: " + json.dumps(error).encode()):
        one = exchange({"stream": True})
        assert one.feed(b"\n\n".join([*whole[:2], last]) + b"\n\n") == b""
        assert one.fault is not None
        assert one.fault.unbilled
    assert one.fault.action is Action.COOL


def test_a_head_that_does_not_end_is_sent_on() -> None:
    """A server that keeps a stream open by events of the head is waited for with a few of them alone."""
    one = exchange({"stream": True})
    event = {"type": "response.in_progress", "response": {"id": "resp_up", "output": []}}
    wire = b"data: %b\n\n" % json.dumps(event).encode()
    assert one.feed(wire * 8) == b""
    assert one.feed(wire).count(b"event: response.in_progress\n") == 9
    assert one.feed(wire).count(b"event: response.in_progress\n") == 1


def test_a_failed_response_with_usage_is_billed() -> None:
    """Its tokens are read, and it is no answer."""
    failed = json.loads((FIXTURES / "r5-failed.json").read_text())
    failed["usage"] = {"input_tokens": 7, "output_tokens": 3}
    one = exchange()
    assert one.answer(json.dumps(failed).encode()) == b""
    assert one.usage == TokenUsage(input=7, output=3)
    assert one.fault is not None
    assert not one.fault.unbilled


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"status":"completed"}',
        b'{"status":"queued","output":[]}',
        b'{"status":"completed","output":null}',
        b'{"status":"\\ud800","output":[]}',
        b'{"status":"failed","error":"\\ud800","output":[]}',
    ],
)
def test_nonsense_is_no_answer(raw: bytes) -> None:
    """A fault, and no byte for the caller."""
    one = exchange()
    assert one.answer(raw) == b""
    assert one.fault is not None


def test_a_stream_without_its_last_event_was_cut() -> None:
    """Whatever is missing at the end is a fault; a last event without its blank line is none."""
    raw = (FIXTURES / "r1-text.sse").read_bytes()
    events = raw.split(b"\n\n")
    one = exchange({"stream": True})
    one.feed(b"\n\n".join(events[:-2]) + b"\n\n")
    assert one.close() == b""
    assert one.fault is not None
    whole = exchange({"stream": True})
    assert whole.feed(raw[:-2]) + whole.close() == raw


def test_events_of_no_known_name_go_no_further() -> None:
    """Clients raise on them; `[DONE]` is no event at all."""
    raw = (FIXTURES / "r1-text.sse").read_bytes()
    one = exchange({"stream": True})
    assert one.feed(b'event: keepalive\ndata: {"type":"keepalive"}\n\n' + raw + b"data: [DONE]\n\n") == raw


def test_the_tier_that_served_is_told() -> None:
    """What the response names is what is billed."""
    one = exchange({"service_tier": "flex"})
    body = json.loads((FIXTURES / "r1-text.json").read_text())
    one.answer(json.dumps(body | {"service_tier": "flex"}).encode())
    assert one.uplifts == ("flex",)


@pytest.mark.parametrize("name", ["response.created", "response.in_progress"])
def test_the_tier_is_known_before_the_end(name: str) -> None:
    """A caller who hangs up is billed at it; what a later event says of it counts in its place."""
    one = exchange({"stream": True, "service_tier": "priority"})

    def event(kind: str, **more: Any) -> bytes:
        response = {"id": "resp_1", "output": [], **more}
        return b"data: " + json.dumps({"type": kind, "response": response}).encode() + b"\n\n"

    assert one.uplifts == ()
    one.feed(event(name, service_tier="priority"))
    assert one.uplifts == ("priority",)
    one.feed(event("response.in_progress") + event("response.in_progress", service_tier=None))
    assert one.uplifts == ("priority",)
    one.feed(event("response.completed", service_tier="default"))
    assert one.finished
    assert one.uplifts == ()


def test_half_a_character_in_a_stream_costs_no_more() -> None:
    """An event with one is read, and told with the replacement in its place."""
    one = exchange({"stream": True})
    out = one.feed(
        b'data: {"type":"response.completed","response":{"status":"completed","model":"\\ud800"}}\n\n'
    )
    assert (one.finished, one.fault) == (True, None)
    assert b"\\ud800" not in out


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'{"type":5}',
        b'{"type":"error","message":"\\ud800"}',
        b'{"type":"response.output_text.delta","delta":"\xff"}',
        *(
            b'{"type":"response.%b"%b}' % (last, response)
            for last in (b"completed", b"incomplete", b"failed")
            for response in (b"", b',"response":null', b',"response":[]', b',"response":"{}"')
        ),
    ],
)
def test_nonsense_in_a_stream_is_a_fault(raw: bytes) -> None:
    """Whatever cannot be read ends the call, and nothing else."""
    one = exchange({"stream": True})
    assert one.feed(b"data: " + raw + b"\n\n") == b""
    assert one.fault is not None
    assert one.close() == b""
