"""Owns what compatible servers were seen to send, in raw bytes, and what a caller must make of each."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from schemas.money.pricing import TokenUsage
from tests.fakes.openai import chunk, event, usage

SSE = "text/event-stream"
JSON = "application/json"
DONE = event("[DONE]")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


class Case(Struct, frozen=True):
    """One answer. `status` is what the caller gets; a stream that has `begun` ends in an error event instead.

    `usage` None: the server has not said it, and the bill is estimated.
    """

    name: str
    raw: bytes
    stream: bool = True
    content_type: str = SSE
    encoding: str = ""
    sent: int = 200  # the server's own status
    ask: dict[str, Any] = {}
    status: int = 200
    begun: bool = False
    code: str | None = ""  # of the error; "" for any
    text: str = "hi"
    finish: str = "stop"
    calls: tuple[tuple[str, str, str], ...] = ()
    usage: TokenUsage | None = TokenUsage(input=10, output=5)
    whole: bool = True  # it needs its last byte: whatever is cut off, it is not complete

    @property
    def fails(self) -> bool:
        """Whether the caller gets an error."""
        return self.status != 200 or self.begun


SAID = usage(10, 5)
ROLE = chunk({"role": "assistant", "content": ""})
HI = chunk({"content": "hi"})
STOP = chunk({}, finish="stop")
USED = chunk({}, usage=SAID) | {"choices": []}


def sse(*events: Any) -> bytes:
    """A stream of these events and `[DONE]`."""
    return b"".join(event(one) for one in events) + DONE


def body(**more: Any) -> dict[str, Any]:
    """A whole plain answer that says hi."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": SAID,
        **more,
    }


def plain(name: str, fields: Any, **more: Any) -> Case:
    """A case of a plain answer."""
    raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return Case(name, raw, stream=False, content_type=JSON, **more)


def both(name: str, told: dict[str, Any], used: TokenUsage | None) -> Iterable[Case]:
    """The same usage in a plain answer, in a chunk of its own, and beside the last choice."""
    yield plain(f"{name}-plain", body(usage=told), usage=used)
    yield Case(f"{name}-chunk", sse(ROLE, HI, STOP, chunk({}, usage=told) | {"choices": []}), usage=used)
    yield Case(f"{name}-beside", sse(ROLE, HI, chunk({}, finish="stop", usage=told)), usage=used)


def _usages() -> Iterable[Case]:
    hidden = {"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 431}
    reasoned = hidden | {"completion_tokens_details": {"reasoning_tokens": 398}}
    used = TokenUsage(input=31, output=2, reasoning=398)
    yield from both("reasoning-outside-completion", reasoned, used)
    yield from both("hidden-output-unnamed", hidden, TokenUsage(input=31, output=2, reasoning=398))
    long = {"prompt_tokens": 1000, "completion_tokens": 13, "total_tokens": 1013}
    cached = TokenUsage(input=232, cached=768, output=13)
    yield from both("cached-at-top-level", long | {"cached_tokens": 768}, cached)
    hits = {"prompt_cache_hit_tokens": 900, "prompt_cache_miss_tokens": 100}
    missed = TokenUsage(input=100, cached=900, output=13)
    yield from both("cached-as-hits", long | hits, missed)
    yield from both("cached-as-reads", long | {"cache_read_input_tokens": 900}, missed)
    yield from both(
        "cached-0-in-details", long | hits | {"prompt_tokens_details": {"cached_tokens": 0}}, missed
    )
    beside = {
        "prompt_tokens": 100,
        "completion_tokens": 13,
        "total_tokens": 1013,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 100,
    }
    yield from both(
        "cached-beside-prompt", beside, TokenUsage(input=100, cached=800, cache_write=100, output=13)
    )
    inputs = {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
    yield from both("other-names", inputs, TokenUsage(input=10, output=3, reasoning=2))
    floats = {"prompt_tokens": 10.0, "completion_tokens": 5.0, "total_tokens": 15.0}
    yield from both("floats", floats, TokenUsage(input=10, output=5))
    odd = SAID | {"prompt_tokens_details": [], "completion_tokens_details": {"reasoning_tokens": 1.5}}
    yield from both("odd-details", odd, TokenUsage(input=10, output=5))
    times = {"queue_time": 0.02, "prompt_time": 0.001, "total_time": 0.5}
    yield from both("times", SAID | times, TokenUsage(input=10, output=5))
    yield from both("text-for-one", SAID | {"completion_tokens": "five"}, TokenUsage(input=10, output=5))
    money = {"cost": 0.00042, "cost_details": {"upstream_inference_cost": 0.1}, "is_byok": False}
    yield from both("money", SAID | money | {"estimated_cost": "0.1"}, TokenUsage(input=10, output=5))
    yield from both("no-sense", {"prompt_tokens": "seven", "completion_tokens": None}, None)
    choice = chunk({}, finish="stop")
    choice["choices"][0]["usage"] = SAID
    yield Case("usage-in-a-choice", sse(ROLE, HI, choice))
    yield Case("usage-in-x_groq", sse(ROLE, HI, STOP | {"x_groq": {"id": "req_1", "usage": SAID | times}}))
    yield plain("money-at-top-level", body(cost=0.1, x_groq={"id": "req_1"}, total_cost_usd="1"))
    choice = chunk({"content": ""}, finish="stop")
    choice["choices"][0]["usage"] = SAID | money
    yield Case("money-in-a-choice", sse(ROLE, HI, choice))
    route = {"gateway": {"routing": [{"cost": 0.1, "host": "a"}], "marketCost": "0.1", "id": "g"}}
    noted = chunk({"content": "hi", "provider_metadata": route}, gateway={"total_cost": 1})
    noted["choices"][0]["provider_metadata"] = route
    yield Case("money-deep-within", sse(ROLE, noted, STOP, USED))
    said = {"role": "assistant", "content": "hi", "provider_metadata": route}
    whole = {"index": 0, "message": said, "finish_reason": "stop", "usage": SAID | money}
    yield plain("money-deep-within-plain", body(choices=[whole], gateway=route, x_pricing={"input": 1}))
    running = [chunk({"content": piece}, usage=usage(10, at + 1)) for at, piece in enumerate("hi")]
    last = chunk({}, finish="stop", usage=usage(10, 5))
    yield Case("usage-in-every-chunk", sse(ROLE | {"usage": usage(10, 0)}, *running, last))
    zeros = chunk({}, usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}) | {"choices": []}
    yield Case("zeros-at-the-end", sse(ROLE, HI, chunk({}, finish="stop", usage=SAID), zeros))
    yield Case("usage-chunk-amid", sse(ROLE, USED, HI, STOP))
    yield Case("usage-chunk-twice", sse(ROLE, HI, USED, STOP, USED))


def _errors() -> Iterable[Case]:
    bad = {"message": "maximum context length is 4096 tokens", "type": "invalid_request_error"}
    bad |= {"param": "messages", "code": "context_length_exceeded"}
    long = json.dumps({"error": bad}).encode()
    for stream in (False, True):
        way = "stream" if stream else "plain"
        asked = {"stream": stream, "content_type": JSON}
        yield Case(f"json-error-200-{way}", long, status=400, code="context_length_exceeded", **asked)
        for name, error, status in (
            ("rate-limit", {"error": {"message": "slow", "code": "RATE_LIMIT_EXCEEDED"}}, 429),
            ("exhausted", {"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}, 429),
            ("in-a-list", [{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}], 400),
            ("number-as-text", {"error": {"message": "context length exceeded", "code": "400"}}, 400),
            ("401-as-text", {"error": {"message": "bad key", "code": "401"}}, 502),
            ("vendor-number", {"error": {"message": "too many at once", "code": "1302"}}, 429),
            ("spent", {"error": {"message": "arrears", "code": "1113"}}, 429),
            (
                "base-resp",
                {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None},
                429,
            ),
            ("bare", {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}, 400),
            ("text", {"error": "it broke"}, 502),
            ("detail", {"detail": "Internal error"}, 502),
            ("no-choices", body(choices=[]), 502),
        ):
            yield Case(f"{name}-200-{way}", json.dumps(error).encode(), status=status, **asked)
        packed = gzip.compress(long)
        yield Case(
            f"gzip-400-{way}", packed, sent=400, encoding="gzip", status=400, code=bad["code"], **asked
        )
        yield Case(f"gzip-429-{way}", gzip.compress(b"{}"), sent=429, encoding="gzip", status=429, **asked)
        yield Case(f"brotli-429-{way}", b"\x8b\x00", sent=429, encoding="br", status=429, **asked)
        yield Case(
            f"detail-422-{way}",
            b'{"detail":[{"loc":["body","x"],"msg":"bad"}]}',
            sent=422,
            status=400,
            **asked,
        )
    broken = {"code": 502, "message": "Upstream error"}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "error",
        "error": broken,
    }
    yield plain("error-in-a-choice-plain", body(choices=[choice]), status=502)
    first = chunk({"content": ""}, finish="error")
    first["choices"][0]["error"] = {"code": 429, "message": "limited"}
    yield Case("error-in-a-choice-first", sse(first), status=429)
    late = chunk({"content": ""}, finish="error")
    late["choices"][0]["error"] = broken
    yield Case("error-in-a-choice-late", sse(ROLE, HI, late), begun=True)
    yield Case("finish-reason-error", sse(ROLE, HI, chunk({}, finish="error")), begun=True)
    yield Case("finish-reason-cancelled", sse(ROLE, HI, chunk({}, finish="cancelled")), begun=True)
    yield Case("finish-reason-timeout", sse(ROLE, HI, chunk({}, finish="timeout")), begun=True)
    yield Case("finish-reason-network-error", sse(ROLE, HI, chunk({}, finish="network_error")), begun=True)
    for name, error, status in (
        ("event-400", {"error": {"message": "context length exceeded", "code": "400"}}, 400),
        ("event-429", {"error": {"message": "slow", "code": "429"}}, 429),
        ("event-401", {"error": {"message": "bad key", "code": "401"}}, 502),
        (
            "event-bare",
            {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
            400,
        ),
        ("event-base-resp", {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, 502),
    ):
        yield Case(name, sse(error), status=status)
    noted = chunk({}, finish="stop") | {"x_groq": {"id": "r", "error": "over capacity"}}
    yield Case("error-in-x_groq", sse(ROLE, HI, noted), begun=True)
    bare = {"object": "error", "message": "gone", "type": "InternalServerError", "code": 500}
    yield Case("bare-error-late", sse(ROLE, HI, bare), begun=True)
    yield Case("named-error-event", b"event: error\n" + sse({"message": "too long", "code": 400}), status=400)
    yield Case("usage-and-no-choice", sse(USED), status=502)
    yield Case("done-alone", DONE, status=502)


def _ends() -> Iterable[Case]:
    closed = b"".join(event(one) for one in (ROLE, HI, STOP))
    yield Case("no-done", closed + event(USED), whole=False)
    yield Case("no-done-no-usage", closed, usage=None, whole=False)
    yield Case("no-done-no-blank-line", closed + event(USED).rstrip(), whole=False)
    yield Case("no-finish", event(ROLE) + event(HI), begun=True, whole=False)
    yield Case("done-without-finish", sse(ROLE, HI), begun=True)
    yield Case("done-with-one-unfinished", sse(ROLE, HI, STOP, _second(HI)), begun=True)
    yield Case("fewer-than-asked", sse(ROLE, HI, STOP, USED), ask={"n": 2})
    two = closed + event(_second(chunk({"role": "assistant", "content": "ho"})))
    yield Case("one-of-two-finished", two, ask={"n": 2}, begun=True, whole=False)
    yield Case("two-of-two-finished", two + event(_second(STOP)) + event(USED), ask={"n": 2}, whole=False)
    yield Case("cut-within-the-usage", closed + event(USED)[:60], begun=True, whole=False)
    for word, meant in (
        ("eos", "stop"),
        ("STOP", "stop"),
        ("max_tokens", "length"),
        ("sensitive", "content_filter"),
    ):
        yield Case(f"finish-{word}", sse(ROLE, HI, chunk({}, finish=word), USED), finish=meant)
    yield plain("no-finish-plain", body(choices=[{"message": {"content": "hi"}}]))


def _second(fields: dict[str, Any]) -> dict[str, Any]:
    """A chunk of the second choice."""
    return fields | {"choices": [fields["choices"][0] | {"index": 1}]}


def _framing() -> Iterable[Case]:
    good = sse(ROLE, HI, STOP, USED)
    events = good.split(b"\n\n")
    for name, kept in (
        ("comment-as-data", b"data: : keepalive"),
        ("empty-data", b"data: "),
        ("bare-data", b"data:"),
        ("ping-as-data", b"data: [PING]"),
        ("word-as-data", b"data: ping"),
        ("empty-object", b"data: {}"),
        ("ping-object", b'data: {"type":"ping"}'),
        ("null-as-data", b"data: null"),
        ("comment", b": OPENROUTER PROCESSING"),
        ("event-alone", b"event: ping"),
        ("retry-and-id", b"retry: 3000\nid: 7"),
    ):
        yield Case(
            f"keep-alive-{name}", kept + b"\n\n" + (b"\n\n" + kept + b"\n\n").join(events[:-1]) + b"\n\n"
        )
    yield Case("byte-order-mark", b"\xef\xbb\xbf" + good)
    yield Case("crlf", good.replace(b"\n", b"\r\n"))
    yield Case("cr", good.replace(b"\n", b"\r"))
    yield Case("no-space", good.replace(b"data: ", b"data:"))
    yield Case("named-events", good.replace(b"data: ", b"event: chunk\ndata: "))
    yield Case("blank-lines-first", b"\n\r\n\n" + good)
    yield Case("done-in-small-letters", good.replace(b"[DONE]", b"[done]"))
    yield Case("pretty-json", b"".join(_pretty(one) for one in (ROLE, HI, STOP, USED)) + DONE)
    packed = gzip.compress(good)
    yield Case("gzip-stream", packed, encoding="gzip")
    yield plain("gzip-plain", gzip.compress(json.dumps(body()).encode()), encoding="gzip")
    yield plain("byte-order-mark-plain", b"\xef\xbb\xbf" + json.dumps(body()).encode())
    yield Case("plain-for-stream", json.dumps(body(), indent=1).encode(), content_type=JSON, whole=False)
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, call | {"id": "c2"}]}
    called = body(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    yield Case(
        "plain-calls-for-stream",
        json.dumps(called).encode(),
        content_type=JSON,
        text="",
        finish="tool_calls",
        calls=(("c1", "weather", "{}"), ("c2", "weather", "{}")),
        whole=False,
    )


def _pretty(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields, indent=1).replace("\n", "\ndata: ").encode() + b"\n\n"


def tools(*deltas: list[dict[str, Any]], finish: str = "tool_calls") -> bytes:
    """A stream of these `tool_calls`, one list a chunk."""
    chunks = [chunk({"role": "assistant", "content": None})]
    chunks += [chunk({"tool_calls": delta}) for delta in deltas]
    return sse(*chunks, chunk({}, finish=finish), USED)


def call(call_id: str | None, name: str | None, arguments: Any, index: int | None = None) -> dict[str, Any]:
    """A piece of a tool call; None leaves a field out."""
    made: dict[str, Any] = {} if index is None else {"index": index}
    made |= {} if call_id is None else {"id": call_id, "type": "function"}
    function = {} if name is None else {"name": name}
    return made | {"function": function | ({} if arguments is None else {"arguments": arguments})}


def _calls() -> Iterable[Case]:
    paris, tokyo = '{"city":"Paris"}', '{"city":"Tokyo"}'
    two = (("c1", "weather", paris), ("c2", "time", tokyo))
    alike = (("c1", "weather", paris), ("c2", "weather", tokyo))
    for name, raw, calls in (
        (
            "calls-without-index",
            tools([call("c1", "weather", "")], [call(None, None, paris)], [call("c2", "time", tokyo)]),
            two,
        ),
        (
            "calls-without-index-at-once",
            tools([call("c1", "weather", paris), call("c2", "time", tokyo)]),
            two,
        ),
        (
            "calls-all-index-0",
            tools([call("c1", "weather", paris, 0)], [call("c2", "weather", tokyo, 0)]),
            alike,
        ),
        (
            "calls-repeat-id-and-name",
            tools(
                [call("c1", "weather", "", 0)],
                [call("c1", "weather", paris[:6], 0)],
                [call("c1", "weather", paris[6:], 0)],
                [call("c2", "time", tokyo[:3], 1)],
                [call("c2", "time", tokyo[3:], 1)],
            ),
            two,
        ),
        (
            "calls-new-id-in-each-piece",
            tools([call("c1", "weather", paris[:6], 0)], [call("x2", "weather", paris[6:], 0)]),
            two[:1],
        ),
        (
            "calls-empty-id-and-name-later",
            tools([call("c1", "weather", "", 0)], [call("", "", paris, 0)]),
            two[:1],
        ),
        (
            "calls-counted-from-1",
            tools(
                [call("c1", "weather", paris, 1)], [call("c2", "time", "", 2)], [call(None, None, tokyo, 2)]
            ),
            two,
        ),
        ("calls-index-as-text", tools([call("c1", "weather", paris) | {"index": "0"}]), two[:1]),
        ("calls-arguments-as-object", tools([call("c1", "weather", {"city": "Paris"}, 0)]), two[:1]),
        (
            "calls-interleaved",
            tools(
                [call("c1", "weather", "", 0), call("c2", "time", "", 1)],
                [call(None, None, tokyo[:4], 1), call(None, None, paris, 0)],
                [call(None, None, tokyo[4:], 1)],
            ),
            two,
        ),
    ):
        yield Case(name, raw, text="", finish="tool_calls", calls=calls, ask={"tools": [TOOL]})
    yield Case(
        "calls-without-id",
        tools([call(None, "weather", paris)], [call(None, "time", tokyo)]),
        text="",
        finish="tool_calls",
        calls=(("", "weather", paris), ("", "time", tokyo)),
        ask={"tools": [TOOL]},
    )
    odd = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
    message = {"content": None, "tool_calls": [odd]}
    yield plain(
        "calls-odd-plain",
        body(choices=[{"message": message, "finish_reason": ""}]),
        text="",
        finish="tool_calls",
        calls=(("", "weather", '{"city": "Paris"}'),),
    )


def _chunks() -> Iterable[Case]:
    empty = {"id": "", "object": "", "created": 0, "model": ""}
    prompt = empty | {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    verdict = empty | {
        "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start_offset": 0}}]
    }
    yield Case("azure-first-chunk", sse(prompt, ROLE, HI, STOP, USED))
    yield Case("azure-filter-chunks", sse(prompt, ROLE, HI, verdict, STOP, verdict, USED))
    yield Case(
        "empty-finish-reasons",
        sse(chunk({"content": ""}, finish=""), chunk({"content": "hi"}, finish=""), STOP, USED),
    )
    bare = [{"choices": [{"delta": {"content": piece}}]} for piece in "hi"]
    yield Case("nothing-but-deltas", sse(*bare, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, USED))
    ids = [
        one | {"id": f"c{at}", "created": at + 1.5, "object": "x"}
        for at, one in enumerate((ROLE, HI, STOP, USED))
    ]
    yield Case("id-of-its-own-each", sse(*ids))
    yield Case(
        "role-in-each", sse(*(chunk({"role": "assistant", "content": piece}) for piece in "hi"), STOP, USED)
    )
    texts = [
        one | {"choices": [one["choices"][0] | {"index": at}]}
        for one in (ROLE, HI, STOP)
        for at in ("0", "1")
    ]
    yield Case("index-as-text", b"".join(map(event, (*texts, USED))), ask={"n": 2}, whole=False)
    yield Case("null-choices", sse(ROLE, HI, {"choices": None}, STOP, USED | {"choices": None}))
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "hi"},
    ]
    yield Case("content-in-parts", sse(ROLE, chunk({"content": parts}), chunk({"content": []}), STOP, USED))
    yield plain(
        "content-in-parts-plain", body(choices=[{"message": {"role": "assistant", "content": parts}}])
    )
    yield Case("error-null", sse(ROLE | {"error": None}, HI | {"error": ""}, STOP | {"error": {}}, USED))
    unfilled = {"error": {"code": 0, "message": "", "type": None}}
    yield Case("error-not-filled-in", sse(ROLE | unfilled, HI, STOP | unfilled, USED))
    fine = {"code": 200, "message": "success", "request_id": "r"}
    yield Case("notice-of-success", sse(fine, ROLE, {"status_code": "200"}, HI, STOP, USED, {"code": "0"}))
    yield Case(
        "message-for-delta", sse({"choices": [{"index": 0, "message": {"content": "hi"}}]}, STOP, USED)
    )
    again = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    pieces = [chunk({"content": piece}) for piece in "hi"]
    ending = {"object": "chat.completion", "choices": [again], "usage": SAID}
    yield Case("all-of-it-once-more", sse(ROLE, *pieces, ending))
    yield Case("all-of-it-once-more-beside-null", sse(ROLE, HI, {"choices": [again | {"delta": None}]}, USED))
    spelled = [{"choices": [{"index": 0, "message": {"content": piece}}]} for piece in "hi"]
    yield Case("each-message-a-piece", sse(*spelled, STOP, USED))
    yield plain("nothing-but-content", {"choices": [{"message": {"content": "hi"}}], "usage": SAID})
    yield plain("base-resp-0", body(base_resp={"status_code": 0, "status_msg": ""}))


CASES = (*_usages(), *_errors(), *_ends(), *_framing(), *_calls(), *_chunks())
