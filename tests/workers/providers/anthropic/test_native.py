"""What passes between callers of Anthropic's dialect and Anthropic itself, and what does not."""

import json
from pathlib import Path

import pytest
from msgspec import structs

from schemas.money.pricing import TokenUsage
from tests.fakes.anthropic import ending, opening, whole
from tests.workers.providers.anthropic.cases import (
    ACCOUNT,
    MIDDLE,
    NEW,
    USER,
    exchange,
    job,
    play,
    stream_job,
)
from workers.providers.anthropic.family import Anthropic
from workers.providers.anthropic.native import NativeExchange

FIXTURES = Path(__file__).parents[3] / "fixtures" / "messages"
WHOLE = ("m1-text", "m2-two-calls", "m3-thinking", "m4-length", "m6-unsigned", "m8-bash")
ANSWERED = "1"  # the request id of a case's job


def made(body=None, *, row=NEW, **fields):
    """The exchange of one job."""
    whole = {"max_tokens": 100, "messages": USER} | (body or {})
    known = {"dialect": "messages", "stream": True, "scope": "s", "upstream": row.upstream}
    (exchange,) = Anthropic().open(job(whole, **known | fields), row, {})
    assert isinstance(exchange, NativeExchange)
    return exchange


def sent(exchange):
    """The body of its call."""
    return json.loads(exchange.request(ACCOUNT).body)


def renamed(raw):
    """A transcript under the id and the model of a case's job, which are the transcript's in another order."""
    first, _, rest = raw.partition(b"\n\n")
    data = json.loads(first.split(b"data: ")[1])
    data["message"] |= {"id": f"msg_{ANSWERED}", "model": "M"}
    told = json.dumps(data, separators=(",", ":")).encode()
    return b"event: message_start\ndata: " + told + b"\n\n" + rest


@pytest.mark.parametrize("name", WHOLE)
def test_streams_pass_byte_for_byte(name):
    """Cut anywhere: all but the message's id and model is as it came, thinking and signatures too."""
    raw = (FIXTURES / f"{name}.sse").read_bytes()
    for size in (1, 7, 64, len(raw)):
        exchange = made()
        exchange.request(ACCOUNT)
        told = b"".join(exchange.feed(raw[at : at + size]) for at in range(0, len(raw), size))
        assert told == renamed(raw)
        assert exchange.finished
        assert exchange.fault is None


@pytest.mark.parametrize("name", WHOLE)
def test_plain_messages_pass(name):
    """The message is as it came, in its order, but for its id and model."""
    known = json.loads((FIXTURES / f"{name}.json").read_bytes())
    exchange = made(stream=False)
    told = json.loads(exchange.answer(json.dumps(known).encode()))
    assert told == known | {"id": f"msg_{ANSWERED}", "model": "M"}
    assert list(told) == list(known)
    assert exchange.finished


def test_usage_is_the_providers():
    """Streamed and plain alike, with every class."""
    streamed, plain = made(), made(stream=False)
    streamed.feed((FIXTURES / "m1-text.sse").read_bytes())
    plain.answer((FIXTURES / "m1-text.json").read_bytes())
    assert streamed.usage == plain.usage == TokenUsage(input=10, cached=100, cache_write=5, output=2)
    assert streamed.output_bytes == plain.output_bytes == len("Hello")


def test_the_last_events_come_together():
    """The event with the reason waits for the one that ends the message, as both wait for the bill."""
    raw = (FIXTURES / "m1-text.sse").read_bytes()
    exchange = made()
    before, stop = raw[: raw.index(b"event: message_stop")], raw[raw.index(b"event: message_stop") :]
    assert b"message_delta" not in exchange.feed(before)
    assert not exchange.finished
    assert exchange.feed(stop).startswith(b"event: message_delta\n")


def test_failures():
    """An error event, nonsense, and an end that is none: faults, and nothing of them is passed on."""
    raw = (FIXTURES / "m5-error.sse").read_bytes()
    exchange = made()
    told = exchange.feed(raw)
    assert b"event: error" not in told
    assert exchange.fault.error.code == "server_is_overloaded"
    assert not exchange.fault.unbilled
    for tail in (
        b"data: {nonsense\n\n",
        b'data: {"type":"UPPER CASE\\n"}\n\n',
        b'data: {"type":"message_stop"}\n\n',
    ):
        exchange = made()
        exchange.feed(raw[: raw.index(b"event: error")] + tail)
        assert exchange.fault is not None
    exchange = made()
    exchange.feed(raw[: raw.index(b"event: error")])
    exchange.close()
    assert exchange.fault is not None


def test_a_refusal_before_any_output_costs_nothing():
    """As in every dialect: its usage shows tokens that nobody bills."""
    message = json.loads((FIXTURES / "m1-text.json").read_bytes()) | {"content": [], "stop_reason": "refusal"}
    exchange = made(stream=False)
    exchange.answer(json.dumps(message).encode())
    assert exchange.usage == TokenUsage()


@pytest.mark.parametrize(
    ("block", "thinking_tokens"),
    [
        ({"type": "thinking", "thinking": "", "signature": "c2ln"}, 0),
        ({"type": "thinking", "thinking": "", "signature": ""}, 0),
        ({"type": "redacted_thinking", "data": "c2ln"}, 0),
        ({"type": "of_another_day"}, 0),
        (None, 20_000),
    ],
)
def test_a_refusal_after_hidden_output_costs_what_was_produced(block, thinking_tokens):
    """Reasoning that is not shown is output: streamed and plain, to callers of both dialects."""
    usage = {"output_tokens": 20_000, "output_tokens_details": {"thinking_tokens": thinking_tokens}}
    begun = [{"type": "content_block_start", "index": 0, "content_block": block}] if block else []
    events = (opening(), *begun, *ending("refusal", **usage))
    for streamed in (made(), exchange(stream_job())):
        play(streamed, *events)
        assert streamed.usage.output + streamed.usage.reasoning == 20_000
    for plain in (made(stream=False), exchange(job({"messages": USER}))):
        plain.answer(json.dumps(whole(events)).encode())
        assert plain.usage.output + plain.usage.reasoning == 20_000


def test_a_refusal_after_a_signature_alone_costs_what_was_produced():
    """Whatever became of the block that it belongs to."""
    signed = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": "c"},
    }
    for streamed in (made(), exchange(stream_job())):
        play(streamed, opening(), signed, *ending("refusal", output_tokens=20_000))
        assert streamed.usage.output == 20_000


def test_what_is_sent():
    """The caller's values in the caller's order; the model and the granted limit are ours, who asks is a digest."""
    system = [{"type": "text", "text": "x-anthropic-billing-header: a"}, {"type": "text", "text": "é"}]
    body = {
        "model": "M",
        "max_tokens": 9_000,
        "system": system,
        "messages": USER,
        "metadata": {"user_id": "someone@example.com"},
        "thinking": {"type": "enabled", "budget_tokens": 8_500, "display": "omitted"},
    }
    raw = made(body, limit=2_000, write_limit=True).request(ACCOUNT).body
    told = json.loads(raw)
    assert list(told) == ["model", "messages", "max_tokens", "system", "thinking", "metadata"]
    assert (told["model"], told["max_tokens"], told["system"]) == (NEW.upstream, 2_000, system)
    assert told["thinking"] == {"type": "enabled", "budget_tokens": 1_999, "display": "omitted"}
    assert b"someone" not in raw
    assert told["metadata"] != sent(made(body, scope="another"))["metadata"]
    assert sent(made(body))["max_tokens"] == 9_000


def test_versions_and_betas():
    """The caller's version, or the one that every model takes; flags by the table, none that has a fee or no window."""
    flags = "claude-code-20250219,context-1m-2025-08-07,fast-mode-2026-02-01,new-thing-2027-01-01, mcp-client-2025-11-20"
    headers = (("anthropic-version", "2026-10-21"), ("anthropic-beta", flags))
    request = made(headers=headers).request(ACCOUNT)
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert request.headers["anthropic-beta"] == "claude-code-20250219,new-thing-2027-01-01"
    wide = made(headers=headers, row=structs.replace(NEW, context=1_000_000))
    assert "context-1m-2025-08-07" in wide.request(ACCOUNT).headers["anthropic-beta"]
    for version in ("", "latest", "2026-10-21\r\nx: y"):
        request = made(headers=(("anthropic-version", version),)).request(ACCOUNT)
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert "anthropic-beta" not in request.headers


def test_reasoning_that_is_not_anthropics_is_taken_out():
    """Unsigned, or signed by a gateway: the block goes, a turn that is empty then goes too; the rest stays byte for byte."""
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    for foreign in (
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "thinking", "thinking": "Hm."},
        {"type": "thinking", "thinking": "Hm.", "signature": "tokn1.abc"},
        {"type": "redacted_thinking", "data": "tokn1.abc"},
    ):
        text = {"type": "text", "text": 'the word "thinking" and tokn1.'}
        turns = [*USER, {"role": "assistant", "content": [foreign, signed, text]}]
        turns += [*USER, {"role": "assistant", "content": [foreign]}, *USER]
        told = sent(made({"messages": turns}))["messages"]
        assert told == [*USER, {"role": "assistant", "content": [signed, text]}, *USER, *USER]
    kept = [*USER, {"role": "assistant", "content": [signed]}, *USER]
    raw = json.dumps(kept, indent=3)
    exchange = NativeExchange(
        job({}, dialect="messages", body=f'{{"max_tokens":1,"messages":{raw}}}'.encode()), NEW
    )
    assert raw.encode() in exchange.request(ACCOUNT).body


def test_a_field_of_a_beta_goes_with_its_flag():
    """Without the flag the provider would refuse the field."""
    body = {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}
    flagged = (("anthropic-beta", "context-management-2025-06-27"),)
    assert "context_management" in sent(made(body, headers=flagged))
    assert "context_management" not in sent(made(body))


def test_an_older_model_is_asked_as_it_can_be():
    """Clients ask a model that they do not know as the newest: thinking and effort go together, or neither does."""
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
    assert {"thinking", "output_config"} <= set(sent(made(body)))
    assert not {"thinking", "output_config"} & set(sent(made(body, row=MIDDLE)))
    shaped = body["output_config"] | {"format": {"type": "json_schema", "schema": {}}}
    told = sent(made(body | {"output_config": shaped}, row=MIDDLE))
    assert told["output_config"] == {"format": {"type": "json_schema", "schema": {}}}
    budget = {"thinking": {"type": "enabled", "budget_tokens": 50}}
    assert sent(made(budget, row=MIDDLE))["thinking"] == budget["thinking"]
