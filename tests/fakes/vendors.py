"""Owns what each preset's vendor takes and sends: one row a preset, each in that vendor's own shapes."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from msgspec import Struct

from schemas.money.pricing import Price, TokenUsage
from tests.fakes.compatible import ROLE, STOP, body, sse
from tests.fakes.openai import Received, Reply, chunk, event

RATE = Decimal("0.6137")  # at which an exact price is seldom a whole number of nano-dollars
CALL = "call_0123456789"
LIMIT = 500
FUNCTION = {"name": "weather", "parameters": {"type": "object"}}
SAID = {"refusal": None, "reasoning_content": "Look it up."}
# What no other vendor than OpenAI is sent.
OPENAI_ONLY = {
    "store": True,
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit"},
    "safety_identifier": "s",
    "verbosity": "low",
}
HARMLESS = {
    "tool_choice": "auto",
    "n": 1,
    "seed": 7,
    "user": "u",
    "logprobs": False,
    "presence_penalty": 0.0,
    "frequency_penalty": 0,
    "temperature": 0.5,
}


class Vendor(Struct, frozen=True, kw_only=True):
    """One vendor. `lacks` of HARMLESS it is not sent, `gets` what it is sent instead.

    `stream` is the raw answer to a stream, `plain` the one without; both tell `usage`. `error` is what it refuses with,
    `told` what a caller makes of that: status and code.
    """

    model: str
    limit: str = "max_tokens"
    key: str = "0123456789abcdefghijABCDEFGHIJ01"  # in the vendor's own form; "" where it needs none
    lacks: tuple[str, ...] = ()
    gets: dict[str, Any] = {}
    said: bool = True  # an assistant message brings SAID
    strict: bool = True
    short_ids: bool = False  # of tool calls: nine letters and digits
    options: bool = True  # it is asked for usage in a stream
    upstream: str = ""  # what it is asked for; left out: the model's own id
    plain: dict[str, Any]
    stream: bytes
    usage: TokenUsage = TokenUsage(input=16, cached=4, output=7)
    reasoning: str = ""  # that a caller is shown, under either name
    error: tuple[int, Any]
    told: tuple[int, str | None] = (400, None)


USED = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
CACHED = USED | {"prompt_tokens_details": {"cached_tokens": 4}}
HI = chunk({"content": "hi"})
HM = {"role": "assistant", "content": "hi", "reasoning_content": "hm"}


def ending(used: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A last chunk of a choice that has usage beside it."""
    return chunk({"content": ""}, finish="stop", usage=used, **more)


def apart(used: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chunk of usage alone."""
    return chunk({}, usage=used, **more) | {"choices": []}


def said(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole answer with this message."""
    return body(choices=[{"index": 0, "message": message, "finish_reason": "stop"}], **more)


def thought(name: str) -> dict[str, Any]:
    """A chunk of reasoning under a vendor's name."""
    return chunk({"role": "assistant", "content": None, name: "hm"})


TIMES = {"queue_time": 0.02, "prompt_time": 0.001, "completion_time": 0.1, "total_time": 0.2}
WHOLE = {"role": "assistant", "content": "hi"}
PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "text", "text": "hi"},
]
COST = {"cost": 0.00014, "cost_details": {"upstream_inference_cost": 0.0001}, "is_byok": False}
SEARCHED = CACHED | {"search_context_size": "low", "cost": {"total_cost": 0.006, "request_cost": 0.005}}
CITED = {"citations": ["https://a.test"], "search_results": [{"title": "a", "url": "https://a.test"}]}
HIDDEN = {
    "prompt_tokens": 31,
    "completion_tokens": 2,
    "total_tokens": 431,
    "prompt_tokens_details": {"text_tokens": 31, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 398, "audio_tokens": 0},
    "num_sources_used": 0,
}
SPEED = {
    "completion_tokens_per_sec": 812.5,
    "end_time": 1.5,
    "is_last_response": True,
    "acceptance_rate": 4.5,
}


def _choice_usage() -> dict[str, Any]:
    last = chunk({}, finish="stop")
    last["choices"][0]["usage"] = USED | {"cached_tokens": 4}
    return last


def _repeated() -> dict[str, Any]:
    """A last chunk that says the whole message once more."""
    last = chunk({}, finish="stop", usage=CACHED | {"total_characters": 0})
    del last["choices"][0]["delta"]
    last["choices"][0]["message"] = WHOLE
    return last | {"object": "chat.completion", "base_resp": {"status_code": 0, "status_msg": ""}}


def _running(content: str, completion: int, finish: str | None = None) -> dict[str, Any]:
    used = {"prompt_tokens": 20, "completion_tokens": completion, "total_tokens": 20 + completion}
    made = chunk({"content": content}, finish=finish, usage=SEARCHED | used, **CITED)
    made["choices"][0]["message"] = WHOLE
    return made


def _flat(message: str, **more: Any) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    }


SPENT = (429, None)
VENDORS = {
    "mistral": Vendor(
        model="mistral-small-latest",
        lacks=("user", "logprobs", "seed"),
        gets={"random_seed": 7},
        said=False,
        short_ids=True,
        options=False,
        plain=said({"role": "assistant", "content": PARTS, "tool_calls": None}, usage=CACHED),
        stream=sse(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": PARTS[:1]}),
            chunk({"content": PARTS[1:]}),
            ending(CACHED),
        ),
        reasoning="hm",
        error=(
            422,
            {
                "object": "error",
                "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "foo"], "msg": "Extra"}]},
                "type": "invalid_request_error",
                "code": None,
            },
        ),
    ),
    "groq": Vendor(
        model="openai/gpt-oss-120b",
        limit="max_completion_tokens",
        key="gsk_0123456789abcdefABCDEF",
        said=False,
        plain=said(
            WHOLE | {"reasoning": "hm"},
            usage=CACHED | TIMES,
            x_groq={"id": "req_1"},
            service_tier="on_demand",
        ),
        stream=sse(
            ROLE | {"x_groq": {"id": "req_1"}},
            thought("reasoning"),
            HI,
            STOP | {"x_groq": {"id": "req_1", "usage": CACHED | TIMES}},
        ),
        reasoning="hm",
        error=(
            413,
            _flat(
                "Request too large for model `m` in organization `org_01abcdefghij` on tokens per minute (TPM): "
                "Limit 6000, Requested 9000",
                type="tokens",
                code="rate_limit_exceeded",
            ),
        ),
        told=(413, "request_too_large"),
    ),
    "deepseek": Vendor(
        model="deepseek-v4-flash",
        key="sk-0123456789abcdef",
        plain=said(HM, usage=USED | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 16}),
        stream=b": keep-alive\n\n"
        + sse(
            thought("reasoning_content"),
            HI,
            STOP,
            apart(USED | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 16}),
        ),
        reasoning="hm",
        error=(402, _flat("Insufficient Balance", type="unknown_error", code="invalid_request_error")),
        told=SPENT,
    ),
    "xai": Vendor(
        model="grok-4.7",
        limit="max_completion_tokens",
        key="xai-0123456789abcdefABCDEF",
        lacks=("presence_penalty", "frequency_penalty"),
        plain=said(HM | {"refusal": None}, usage=HIDDEN, citations=[]),
        stream=sse(thought("reasoning_content"), HI, ending(HIDDEN, citations=[])),
        usage=TokenUsage(input=27, cached=4, output=2, reasoning=398),
        reasoning="hm",
        error=(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Argument not supported: presencePenalty",
            },
        ),
    ),
    "moonshot": Vendor(
        model="kimi-k3",
        key="sk-0123456789abcdef",
        strict=False,
        plain=said(HM, usage=USED | {"cached_tokens": 4}),
        stream=sse(thought("reasoning_content"), HI, _choice_usage()),
        reasoning="hm",
        error=(429, {"error": {"message": "The engine is overloaded", "type": "engine_overloaded_error"}}),
        told=SPENT,
    ),
    "cohere": Vendor(
        model="command-a-03-2025",
        lacks=("n", "tool_choice"),
        strict=False,
        plain=said(WHOLE, usage=USED),
        stream=sse(ROLE, HI, STOP, apart(USED)),
        usage=TokenUsage(input=20, output=7),
        error=(400, {"id": "1", "message": "invalid request: messages must not be empty"}),
    ),
    "together": Vendor(
        model="openai/gpt-oss-120b",
        strict=False,
        plain=said(WHOLE | {"reasoning": "hm"}, usage=USED | {"cached_tokens": 4}, prompt=[]),
        stream=sse(
            thought("reasoning"), HI, chunk({"content": ""}, finish="eos", usage=USED | {"cached_tokens": 4})
        ),
        reasoning="hm",
        error=(
            422,
            _flat("Input validation error: `inputs` must be <= 8193", param="max_tokens") | {"id": "1"},
        ),
    ),
    "fireworks": Vendor(
        model="kimi-k3",
        upstream="accounts/fireworks/models/kimi-k3",
        key="fw_0123456789abcdef",
        plain=said(HM, usage=CACHED, perf_metrics={"server-ttft": 0.1}),
        stream=sse(thought("reasoning_content"), chunk({"content": "hi"}, finish="stop", usage=CACHED)),
        reasoning="hm",
        error=(400, {"error": {"object": "error", "type": "invalid_request_error", "message": "too long"}}),
    ),
    "cerebras": Vendor(
        model="gpt-oss-120b",
        limit="max_completion_tokens",
        key="csk-0123456789abcdef",
        lacks=("presence_penalty", "frequency_penalty"),
        said=False,
        plain=said(WHOLE | {"reasoning": "hm"}, usage=CACHED, time_info=TIMES),
        stream=sse(thought("reasoning"), HI, STOP, apart(CACHED, time_info=TIMES)),
        reasoning="hm",
        error=(
            429,
            {
                "message": "Requests per minute limit exceeded - too many requests sent.",
                "type": "too_many_requests_error",
                "param": "quota",
                "code": "request_quota_exceeded",
            },
        ),
        told=SPENT,
    ),
    "perplexity": Vendor(
        model="sonar",
        key="pplx-0123456789abcdef",
        plain=said(WHOLE, usage=SEARCHED, **CITED),
        stream=sse(_running("h", 3), _running("i", 7, "stop")),
        error=(
            400,
            {"error": {"message": "Last message must be of `user`.", "type": "invalid_message", "code": 400}},
        ),
    ),
    "openrouter": Vendor(
        model="any/model:free",
        key="sk-or-v1-0123456789abcdef",
        plain=said(
            WHOLE | {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
            usage=CACHED | COST,
            provider="a",
        ),
        stream=b": OPENROUTER PROCESSING\n\n"
        + sse(
            thought("reasoning"),
            HI,
            chunk({"content": ""}, finish="stop"),
            apart(CACHED | COST, provider="a"),
        ),
        reasoning="hm",
        error=(
            402,
            {
                "error": {
                    "message": "You requested 300 tokens, but can only afford 10.",
                    "code": 402,
                    "metadata": {},
                }
            },
        ),
        told=SPENT,
    ),
    "zai": Vendor(
        model="glm-5.3",
        key="0123456789abcdef0123456789abcdef.ABCDEF0123456789",
        plain=said(HM, usage=CACHED, request_id="1"),
        stream=sse(thought("reasoning_content"), HI, ending(CACHED)),
        reasoning="hm",
        error=(429, {"error": {"code": "1302", "message": "Rate limit reached for requests"}}),
        told=SPENT,
    ),
    "minimax": Vendor(
        model="MiniMax-M3",
        key="eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        strict=False,
        plain=said(
            WHOLE, usage=CACHED | {"total_characters": 0}, base_resp={"status_code": 0, "status_msg": ""}
        ),
        stream=sse(ROLE, HI, _repeated()),
        error=(200, {"id": "1", "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        told=SPENT,
    ),
    "dashscope": Vendor(
        model="qwen3.8-max",
        key="sk-0123456789abcdef",
        strict=False,
        plain=said(HM, usage=CACHED, system_fingerprint=None),
        stream=sse(thought("reasoning_content"), HI, STOP, apart(CACHED)),
        reasoning="hm",
        error=(400, _flat("Output data may be inappropriate.", type="data_inspection_failed")),
    ),
    "nvidia": Vendor(
        model="nvidia/any",
        key="nvapi-0123456789abcdef",
        strict=False,
        plain=said(HM | {"tool_calls": []}, usage=USED | {"prompt_tokens_details": None}),
        stream=sse(ROLE, thought("reasoning_content"), HI, STOP, apart(USED)),
        usage=TokenUsage(input=20, output=7),
        reasoning="hm",
        error=(
            404,
            {"status": 404, "title": "Not Found", "detail": "Function '1': Not found for account '2'"},
        ),
        told=(502, None),
    ),
    "sambanova": Vendor(
        model="Any-Model",
        strict=False,
        plain=said(WHOLE, usage=CACHED | SPEED),
        stream=sse(ROLE, HI, STOP, apart(CACHED | SPEED)),
        error=(400, _flat("This model does not take this", code=None) | {"request_id": "1"}),
    ),
    "deepinfra": Vendor(
        model="zai-org/GLM-5.2",
        plain=said(HM, usage=CACHED | {"estimated_cost": 0.0000231}),
        stream=sse(thought("reasoning_content"), HI, ending(CACHED | {"estimated_cost": 0.0000231})),
        reasoning="hm",
        error=(422, {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]}),
    ),
    "nebius": Vendor(
        model="any/model",
        plain=said(HM, usage=CACHED, prompt_logprobs=None),
        stream=sse(ROLE, thought("reasoning_content"), HI, STOP, apart(CACHED)),
        reasoning="hm",
        error=(400, {"detail": "Invalid request. max_tokens must be at least 1"}),
    ),
    "novita": Vendor(
        model="any/model",
        key="sk_0123456789abcdef",
        plain=said(HM, usage=CACHED, system_fingerprint=""),
        stream=sse(thought("reasoning_content"), HI, STOP, apart(CACHED)),
        reasoning="hm",
        error=(429, {"code": 429, "reason": "RATE_LIMIT_EXCEEDED", "message": "rate limit", "metadata": {}}),
        told=SPENT,
    ),
    "baseten": Vendor(
        model="any/model",
        plain=said(HM, usage=CACHED),
        stream=sse(thought("reasoning_content"), HI, STOP, apart(CACHED)),
        reasoning="hm",
        error=(503, {"error": "Model is not ready"}),
        told=(503, "server_is_overloaded"),
    ),
    "huggingface": Vendor(
        model="any/model:fastest",
        key="hf_0123456789abcdef",
        plain=said(HM, usage=CACHED),
        stream=b"".join(event(one) for one in (thought("reasoning_content"), HI, ending(CACHED))),
        reasoning="hm",
        error=(400, _flat("The model is not supported by any provider.", code="model_not_supported")),
        told=(400, "model_not_supported"),
    ),
    "meta": Vendor(
        model="any-model",
        limit="max_completion_tokens",
        plain=said(WHOLE | {"refusal": ""}, usage=CACHED),
        stream=sse(ROLE, HI, STOP, apart(CACHED)),
        error=(400, {"error": {"message": "Invalid parameter", "type": "OAuthException", "code": 100}}),
        told=(400, "100"),
    ),
    "vllm": Vendor(
        model="any/model",
        key="",
        plain=said(WHOLE | {"reasoning": "hm"}, usage=CACHED, prompt_logprobs=None, kv_transfer_params=None),
        stream=sse(ROLE, thought("reasoning"), HI, STOP, apart(CACHED)),
        reasoning="hm",
        error=(
            400,
            {
                "object": "error",
                "message": "maximum context length is 4096",
                "type": "BadRequestError",
                "code": 400,
            },
        ),
        told=(400, "400"),
    ),
    "ollama": Vendor(
        model="any:8b",
        key="",
        plain=said(WHOLE | {"reasoning": "hm"}, usage=USED, system_fingerprint="fp_ollama"),
        stream=sse(
            thought("reasoning"), HI, chunk({"role": "assistant", "content": ""}, finish="stop"), apart(USED)
        ),
        usage=TokenUsage(input=20, output=7),
        reasoning="hm",
        error=(404, _flat('model "any" not found, try pulling it first', type="not_found_error")),
        told=(404, "model_not_found"),
    ),
    "llamacpp": Vendor(
        model="any.gguf",
        key="",
        plain=said(HM, usage=USED, timings={"predicted_per_second": 31.5}),
        stream=sse(ROLE, thought("reasoning_content"), HI, STOP, apart(USED, timings={"cache_n": 4})),
        usage=TokenUsage(input=20, output=7),
        reasoning="hm",
        error=(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
        told=(503, "server_is_overloaded"),
    ),
    "lmstudio": Vendor(
        model="any-model",
        key="",
        plain=said(HM, usage=USED, stats={}),
        stream=sse(thought("reasoning_content"), HI, STOP, apart(USED)),
        usage=TokenUsage(input=20, output=7),
        reasoning="hm",
        error=(400, {"error": "Cannot keep so many tokens: the context overflows."}),
    ),
}


def asked(vendor: Vendor, *, stream: bool) -> dict[str, Any]:
    """A caller's request with all that some vendor would refuse, its limit under the name that this one does not know."""
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[vendor.limit]
    call = {"id": CALL, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": 'Say "developer" once.'},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call], **SAID},
        {"role": "tool", "tool_call_id": CALL, "content": "rain"},
    ]
    tools = [{"type": "function", "function": FUNCTION | {"strict": True}}]
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {
        "model": vendor.model,
        "messages": messages,
        "tools": tools,
        other: LIMIT,
        **OPENAI_ONLY,
        **HARMLESS,
        **more,
    }


def wanted(vendor: Vendor, given: dict[str, Any], call_id: str) -> dict[str, Any]:
    """What this vendor has to get for that: nothing more, and nothing less."""
    first, user, assistant, result = given["messages"]
    kept = {name: value for name, value in assistant.items() if name not in SAID}
    messages = [
        first | {"role": "system"},
        user,
        kept | (SAID if vendor.said else {}) | {"tool_calls": [kept["tool_calls"][0] | {"id": call_id}]},
        result | {"tool_call_id": call_id},
    ]
    gone = {*OPENAI_ONLY, *vendor.lacks, "max_tokens", "max_completion_tokens"}
    gone |= set() if vendor.options else {"stream_options"}
    body = {name: value for name, value in given.items() if name not in gone}
    function = FUNCTION | ({"strict": True} if vendor.strict else {})
    body |= {
        "model": vendor.upstream or vendor.model,
        "messages": messages,
        vendor.limit: LIMIT,
        **vendor.gets,
    }
    return body | {"tools": [{"type": "function", "function": function}]}


def served(vendor: Vendor, received: Received) -> Reply:
    """Its answer, plain or streamed."""
    if received.json.get("stream"):
        return Reply(pieces=[vendor.stream], headers={"content-type": "text/event-stream"}, split=61)
    return Reply(pieces=[json.dumps(vendor.plain).encode()], length=True)


def refused(vendor: Vendor) -> Reply:
    """Its own kind of no."""
    status, told = vendor.error
    return Reply(status, [json.dumps(told).encode()], length=True)


def by_hand(usage: TokenUsage, price: Price) -> int:
    """The charge at RATE in nano-dollars, worked out apart from the gateway's own arithmetic."""
    tier = price.tiers[0]
    cached = tier.input if tier.cached is None else tier.cached
    reasoning = tier.output if tier.reasoning is None else tier.reasoning
    million = usage.input * tier.input + usage.cached * cached
    million += usage.output * tier.output + usage.reasoning * reasoning
    usd = (million / 1_000_000 + price.request) * RATE
    return int((usd * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))
